// SPDX-License-Identifier: Apache-2.0
#include "core/weights/torch_file.h"

#include "core/base/error.h"

namespace medgen {
namespace {

TorchContents open_contents(const std::shared_ptr<const MappedFile>& file) {
  if (looks_like_zip(file->bytes())) return open_torch_zip(file);
  if (looks_like_pickle(file->bytes())) return open_torch_legacy(file);
  throw DataError("{}: is no torch checkpoint", file->path().string());
}

Blob copy_of(const pickle::Bytes& bytes) {
  const auto copy = std::make_shared<std::string>(bytes.data);
  return {std::as_bytes(std::span(*copy)), copy};
}

bool lies_dense(const pickle::TensorRef& tensor) {
  std::int64_t dense = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != dense) return element_count(tensor.shape) == 0;
    dense *= tensor.shape[i];
  }
  return true;
}

medgen_tensor_t strided_view(const pickle::TensorRef& tensor, const Blob& blob) {
  medgen_tensor_t view{};
  view.data = const_cast<std::byte*>(blob.bytes.data());
  view.device = {MEDGEN_DEVICE_CPU, 0};
  view.ndim = static_cast<std::int32_t>(tensor.shape.size());
  view.dtype = abi_dtype(tensor.dtype);
  view.shape = const_cast<std::int64_t*>(tensor.shape.data());
  view.strides = const_cast<std::int64_t*>(tensor.strides.data());
  view.byte_offset = static_cast<std::uint64_t>(tensor.offset) * size_of(tensor.dtype);
  return view;
}

}  // namespace

std::uint64_t storage_bytes(const pickle::Storage& storage) {
  const std::uint64_t width = storage.dtype ? size_of(*storage.dtype) : 1;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(storage.count), width, &bytes)) {
    throw DataError("storage '{}' of {} elements is impossibly large", storage.key, storage.count);
  }
  return bytes;
}

TorchFile::TorchFile(std::shared_ptr<const MappedFile> file)
    : path_(file->path().string()),
      contents_(open_contents(file)),
      storages_(contents_.tree->storages().size()),
      // An expanded tensor repeats few numbers in a large shape; real ones are small.
      copies_left_((std::uint64_t{64} << 20) + 4 * file->bytes().size()) {}

Tensor TorchFile::tensor(const pickle::TensorRef& reference, std::string_view name) {
  const std::string what = fmt::format("{}: tensor '{}'", path_, name);
  const Blob& blob = storage(reference.storage);
  Tensor tensor;
  if (lies_dense(reference)) {
    const std::size_t width = size_of(reference.dtype);
    const auto begin = static_cast<std::size_t>(reference.offset) * width;
    const auto count = static_cast<std::size_t>(element_count(reference.shape));
    tensor =
        view_tensor({blob.bytes.subspan(begin, count * width), blob.owner}, reference.dtype, reference.shape, what);
  } else {
    charge_copy(reference, what);
    tensor = Tensor::from_abi(strided_view(reference, blob));
    check_bools(tensor, what);
  }
  return tensor;
}

void TorchFile::charge_copy(const pickle::TensorRef& reference, std::string_view what) {
  std::uint64_t bytes = 0;
  const auto count = static_cast<std::uint64_t>(element_count(reference.shape));
  if (__builtin_mul_overflow(count, size_of(reference.dtype), &bytes) || bytes > copies_left_) {
    throw DataError("{}: shape {} repeats the numbers of a much smaller storage: refused as a memory bomb", what,
                    to_string(reference.shape));
  }
  copies_left_ -= bytes;
}

const Blob& TorchFile::storage(std::size_t index) {
  Blob& blob = storages_[index];
  if (blob.owner != nullptr) return blob;
  const pickle::Storage& storage = contents_.tree->storages()[index];
  constexpr std::size_t kWidest = 8;
  blob = storage.inside != nullptr ? copy_of(*storage.inside->as<pickle::Bytes>()) : contents_.read_storage(storage);
  if (blob.bytes.size() != storage_bytes(storage)) {
    throw DataError("{}: storage '{}' has {} bytes, but {} are declared", path_, storage.key, blob.bytes.size(),
                    storage_bytes(storage));
  }
  blob = aligned(std::move(blob), storage.dtype ? size_of(*storage.dtype) : kWidest);
  return blob;
}

}  // namespace medgen
