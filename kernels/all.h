// SPDX-License-Identifier: Apache-2.0
// Every kernel, for those who compile them: EACH(Kernel) for all of them.
#pragma once

#include "kernels/adam.h"
#include "kernels/blend.h"
#include "kernels/downsample.h"
#include "kernels/group_norm.h"
#include "kernels/group_norm_backward.h"
#include "kernels/label_planes.h"
#include "kernels/noise.h"
#include "kernels/rows.h"
#include "kernels/update.h"
#include "kernels/upsample.h"

#define MEDGEN_EACH_SUM(EACH)          \
  EACH(ChannelSums<float>)             \
  EACH(ChannelSums<Bf16>)              \
  EACH(NormBackwardSums<float, true>)  \
  EACH(NormBackwardSums<float, false>) \
  EACH(NormBackwardSums<Bf16, true>)   \
  EACH(NormBackwardSums<Bf16, false>)

#define MEDGEN_EACH_LINE_KERNEL(EACH)   \
  EACH(Normalize<float, true>)          \
  EACH(Normalize<float, false>)         \
  EACH(Normalize<float, true, Bf16>)    \
  EACH(Normalize<float, false, Bf16>)   \
  EACH(Normalize<Bf16, true>)           \
  EACH(Normalize<Bf16, false>)          \
  EACH(NormBackwardInput<float, true>)  \
  EACH(NormBackwardInput<float, false>) \
  EACH(NormBackwardInput<Bf16, true>)   \
  EACH(NormBackwardInput<Bf16, false>)  \
  EACH(UpsampleLinear<float>)           \
  EACH(UpsampleLinear<Bf16>)            \
  EACH(UpsampleNearest<float>)          \
  EACH(UpsampleNearest<Bf16>)           \
  EACH(DownsampleMean<float>)           \
  EACH(DownsampleMean<Bf16>)            \
  EACH(ConvertRows<float, float>)       \
  EACH(ConvertRows<float, Bf16>)        \
  EACH(ConvertRows<Bf16, float>)        \
  EACH(PairRows<float>)                 \
  EACH(PairRows<Bf16>)                  \
  EACH(FinishRows<float, true>)         \
  EACH(FinishRows<float, false>)        \
  EACH(FinishRows<Bf16, true>)          \
  EACH(FinishRows<Bf16, false>)         \
  EACH(LabelPlanes<true>) EACH(LabelPlanes<false>) EACH(BlendWindow<true>) EACH(BlendWindow<false>)

#define MEDGEN_EACH_ELEMENT_KERNEL(EACH) \
  EACH(AdamStep)                         \
  EACH(PlaneTotals)                      \
  EACH(GroupAffine)                      \
  EACH(UpdateStep)                       \
  EACH(NoiseRun<float, true>) EACH(NoiseRun<float, false>) EACH(NoiseRun<double, true>) EACH(NoiseRun<double, false>)
