// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace medgen {

/// Bytes somebody else owns: a part of a mapped file, or a buffer.
struct Blob {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// The same bytes at an address that is a multiple of `alignment` (a power of two): copied only when they are not yet.
Blob aligned(Blob blob, std::size_t alignment);

/// A dense tensor over exactly these bytes, without copying when they are aligned for the dtype. Read-only.
/// @throws DataError when the size is wrong or a Bool element is neither 0 nor 1; `what` names file and tensor.
Tensor view_tensor(Blob blob, DType dtype, Shape shape, std::string_view what);

/// @throws DataError when a Bool tensor holds anything but 0 and 1.
void check_bools(const Tensor& tensor, std::string_view what);

}  // namespace medgen
