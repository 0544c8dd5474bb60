// SPDX-License-Identifier: Apache-2.0
#include "core/weights/tensor_view.h"

#include "core/base/error.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace medgen {
namespace {

std::uint64_t checked_count(const Shape& shape, std::string_view what) {
  try {
    return static_cast<std::uint64_t>(element_count(shape));
  } catch (const DataError& error) {
    throw DataError("{}: {}", what, error.what());
  }
}

}  // namespace

Blob aligned(Blob blob, std::size_t alignment) {
  if (reinterpret_cast<std::uintptr_t>(blob.bytes.data()) % alignment == 0) return blob;
  auto copy = std::make_shared<Tensor>(DType::U8, Shape{static_cast<std::int64_t>(blob.bytes.size())});
  if (!blob.bytes.empty()) std::memcpy(copy->data(), blob.bytes.data(), blob.bytes.size());
  const auto* begin = static_cast<const std::byte*>(copy->data());
  return {{begin, blob.bytes.size()}, std::move(copy)};
}

Tensor view_tensor(Blob blob, DType dtype, Shape shape, std::string_view what) {
  const std::uint64_t count = checked_count(shape, what);
  const std::size_t width = size_of(dtype);
  if (blob.bytes.size() % width != 0 || blob.bytes.size() / width != count) {
    throw DataError("{}: {} {} needs {} elements of {} bytes, but {} bytes are stored", what, name_of(dtype),
                    to_string(shape), count, width, blob.bytes.size());
  }
  blob = aligned(std::move(blob), width);
  auto* data = const_cast<std::byte*>(blob.bytes.data());
  Tensor tensor(dtype, std::move(shape), data, std::move(blob.owner));
  check_bools(tensor, what);
  return tensor;
}

void check_bools(const Tensor& tensor, std::string_view what) {
  if (tensor.dtype() != DType::Bool) return;
  const auto* begin = static_cast<const std::uint8_t*>(tensor.data());
  const auto* end = begin + tensor.size();
  const auto* bad = std::find_if(begin, end, [](std::uint8_t byte) { return byte > 1; });
  if (bad != end) throw DataError("{}: a BOOL element has the value {}, not 0 or 1", what, *bad);
}

}  // namespace medgen
