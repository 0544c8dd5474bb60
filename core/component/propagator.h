// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"

#include <medgen/abi/propagator.h>

#include <memory>
#include <optional>

namespace medgen {

/// A piece of the array that the host is asked to sample; see medgen_window_t.
struct Window {
  std::uint32_t flags = 0;
  std::uint32_t known_rule = MEDGEN_KNOWN_NONE;
  Shape origin;  ///< spatial axes of the array, tensor order
  Shape extent;
  std::vector<int> order;  ///< tensor axis i of the window is the array's axis order[i]
  std::uint64_t noise_stream = 0;
  Tensor known;       ///< (C, extent...) or empty
  Tensor known_mask;  ///< (extent...) U8 or empty
  TensorMap conditions;
};

struct CoverRequest {
  std::int64_t channels = 0;
  Shape shape;  ///< spatial
  TensorMap inputs;
};

/// One volume being covered. `next` gives windows until it gives none; every window's result goes back through
/// `accept`.
class Cover {
 public:
  virtual ~Cover() = default;
  virtual std::optional<Window> next(const CallContext& context) = 0;
  virtual void accept(const CallContext& context, const Window& window, const Tensor& result) = 0;
  virtual Tensor finish(const CallContext& context) = 0;
};

class Propagator : public virtual Component {
 public:
  virtual std::unique_ptr<Cover> begin(const CallContext& context, const CoverRequest& request) = 0;
  /// Windows of a cover of this shape; 0 = unknown.
  virtual std::uint64_t count(const CoverRequest& request) const = 0;
};

}  // namespace medgen
