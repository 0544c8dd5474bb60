// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/kept_tensor.h"

#include "plugins/support/error.h"
#include "plugins/support/nn/large_memory.h"

#include <ATen/ops/zeros_like.h>

#include <utility>

namespace medgen::support {
namespace {

/// On the CPU, with the weight's order of axes. Outside the heap: among what else a step allocates, arrays that come
/// and go one after the other would each find another place.
at::Tensor host_like(const at::Tensor& weight) {
  return nn::large_array(weight.sizes(), weight.strides(), weight.scalar_type());
}

}  // namespace

std::filesystem::path disk_folder() {
  std::error_code error;
  auto folder = std::filesystem::temp_directory_path(error);
  require(!error,
          "\"optimizer_state\": \"disk\" wants a folder for temporary files, and there is none; set TMPDIR to one");
  return folder;
}

KeptFile::KeptFile(std::filesystem::path folder) : file(std::move(folder)) {
  require(
      !file.lies_in_memory(),
      "\"optimizer_state\": \"disk\" wants a disk, and '{}' is a file system in memory; set TMPDIR to a folder on one",
      file.folder().string());
}

KeptTensor::KeptTensor(const at::Tensor& weight, std::shared_ptr<KeptFile> file)
    : weight_(weight.detach()), file_(std::move(file)) {
  if (!file_) {
    in_memory_ = at::zeros_like(weight_);
    return;
  }
  const auto bytes = static_cast<std::int64_t>(weight_.nbytes());
  offset_ = std::exchange(file_->end, file_->end + bytes);
  file_->file.reserve(offset_, bytes);
}

at::Tensor KeptTensor::get() const {
  if (!file_) return in_memory_;
  const at::Tensor value = host_like(weight_);
  file_->file.read(offset_, value.mutable_data_ptr(), static_cast<std::int64_t>(value.nbytes()));
  return value.to(weight_.device());
}

void KeptTensor::put(const at::Tensor& value) {
  if (!file_) {
    if (!value.is_same(in_memory_)) in_memory_.copy_(value);
    return;
  }
  at::Tensor here = value;
  const bool alike =
      value.is_cpu() && value.scalar_type() == weight_.scalar_type() && value.strides() == weight_.strides();
  if (!alike) here = host_like(weight_).copy_(value);
  file_->file.write(offset_, here.const_data_ptr(), static_cast<std::int64_t>(here.nbytes()));
}

}  // namespace medgen::support
