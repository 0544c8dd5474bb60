/* SPDX-License-Identifier: Apache-2.0
 * Everything stable. Drafts are included one by one by those who want them. */
#ifndef MEDGEN_ABI_MEDGEN_H
#define MEDGEN_ABI_MEDGEN_H

#include <medgen/abi/compressor.h>
#include <medgen/abi/conditioner.h>
#include <medgen/abi/denoiser.h>
#include <medgen/abi/plugin.h>
#include <medgen/abi/propagator.h>
#include <medgen/abi/scheduler.h>

#endif
