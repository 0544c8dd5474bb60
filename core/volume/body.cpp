// SPDX-License-Identifier: Apache-2.0
#include "core/volume/body.h"

#include "core/base/error.h"
#include "core/volume/element.h"
#include "core/volume/labels.h"
#include "core/volume/morphology.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

namespace medgen {
namespace {

using Byte = std::uint8_t;
using Bytes = std::span<const Byte>;

constexpr std::int64_t kGap = 3, kBridge = 5;  // voxels, as released
constexpr std::int64_t kLargeAir = 20;         // a part in so many of the body

template <typename Holds>
Tensor mask_where(const Shape& shape, Holds holds) {
  Tensor mask(DType::U8, shape);
  const auto voxels = mask.values<Byte>();
  for (std::size_t i = 0; i < voxels.size(); ++i) voxels[i] = holds(i) ? 1 : 0;
  return mask;
}

Tensor labelled_voxels(const Tensor& map) {
  return with_element_type(map.dtype(), [&]<typename T>(T) {
    return mask_where(map.shape(), [ids = map.values<T>()](std::size_t i) { return ids[i] != T(0); });
  });
}

Tensor main_parts(const Tensor& solid, double least_part) {
  const ConnectedComponents parts(solid);
  if (least_part >= 1) return parts.largest();
  return parts.of_at_least(static_cast<std::int64_t>(std::ceil(least_part * static_cast<double>(parts.most_voxels()))));
}

/// Labelled voxels are part of it.
Tensor body_of(const Tensor& thin, Bytes labelled, double least_part) {
  const Shape& shape = thin.shape();
  const Tensor air = close(ConnectedComponents(thin).largest(), kGap);
  const Tensor solid =
      mask_where(shape, [&, a = air.values<Byte>()](std::size_t i) { return a[i] == 0 || labelled[i] != 0; });
  const Tensor core = dilate(main_parts(erode(solid, kBridge), least_part), kBridge);
  const Tensor body = close(core, kGap);
  return mask_where(shape, [&, b = body.values<Byte>()](std::size_t i) { return b[i] != 0 || labelled[i] != 0; });
}

/// Air that fills large parts of it.
Tensor enclosed_air(const Tensor& thin, const Tensor& body, Bytes labelled) {
  const auto inside = body.values<Byte>();
  const auto voxels = std::count(inside.begin(), inside.end(), Byte{1});
  const Tensor air = mask_where(thin.shape(), [&, t = thin.values<Byte>()](std::size_t i) {
    return t[i] != 0 && inside[i] != 0 && labelled[i] == 0;
  });
  return ConnectedComponents(air).of_at_least(std::max<std::int64_t>(voxels / kLargeAir, 1));
}

}  // namespace

Volume with_body(const Volume& ct, const Volume& labels, const BodyRule& rule) {
  if (ct.has_channels() || labels.has_channels() || ct.size() != labels.size())
    throw DataError("a body is made from a CT of one channel and a label map of its size; they have {} and {} voxels",
                    to_string(ct.voxels().shape()), to_string(labels.voxels().shape()));
  std::set<std::int64_t> known = label_ids(labels.voxels());
  if (known.contains(rule.label)) return labels;
  known.insert(rule.label);
  Tensor map = labels.voxels().to(label_type(known, labels.dtype()));
  if (map.data() == labels.voxels().data()) map = map.clone();
  const Tensor labelled = labelled_voxels(map);
  const Tensor values = ct.voxels().to(DType::F32);
  const Tensor thin = mask_where(values.shape(), [&, v = values.values<float>()](std::size_t i) {
    return static_cast<double>(v[i]) < rule.air_below;
  });
  const Tensor body = body_of(thin, labelled.values<Byte>(), rule.least_part);
  const Tensor air = enclosed_air(thin, body, labelled.values<Byte>());
  const auto taken = labelled.values<Byte>(), inside = body.values<Byte>(), outside = air.values<Byte>();
  with_element_type(map.dtype(), [&]<typename T>(T) {
    const auto ids = map.values<T>();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (taken[i] == 0 && inside[i] != 0 && outside[i] == 0) ids[i] = static_cast<T>(rule.label);
    }
  });
  return labels.with_voxels(std::move(map));
}

}  // namespace medgen
