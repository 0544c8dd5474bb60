// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/bridge.h"

#include "plugins/support/error.h"
#include "plugins/support/nn/large_memory.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <mutex>
#include <vector>

namespace medgen::support {
namespace {

at::ScalarType scalar_type(const sdk::TensorView& view) {
  const medgen_dtype_t dtype = view.dtype();
  switch (dtype.code) {
    case MEDGEN_DTYPE_FLOAT:
      if (dtype.bits == 16) return at::kHalf;
      if (dtype.bits == 32) return at::kFloat;
      if (dtype.bits == 64) return at::kDouble;
      break;
    case MEDGEN_DTYPE_BFLOAT:
      return at::kBFloat16;
    case MEDGEN_DTYPE_INT:
      if (dtype.bits == 8) return at::kChar;
      if (dtype.bits == 16) return at::kShort;
      if (dtype.bits == 32) return at::kInt;
      if (dtype.bits == 64) return at::kLong;
      break;
    case MEDGEN_DTYPE_UINT:
      if (dtype.bits == 8) return at::kByte;
      break;
    case MEDGEN_DTYPE_BOOL:
      return at::kBool;
    default:
      break;
  }
  throw InvalidInput("'{}' has the element type {}, which the networks do not take", view.name(),
                     sdk::to_string(dtype));
}

int cuda_devices() {
  try {
    return nn::load_cuda();
  } catch (const std::runtime_error& error) {
    throw sdk::Error(MEDGEN_E_DEVICE, sdk::text("LibTorch's part for CUDA cannot be loaded: ", error.what(),
                                                "; run tools/setup --cuda, or compute on the \"cpu\""));
  }
}

}  // namespace

at::Tensor to_torch(const sdk::TensorView& view, at::Device device) {
  const at::TensorOptions options = at::TensorOptions().dtype(scalar_type(view));
  const at::IntArrayRef shape(view.shape().data(), view.ndim());
  const at::IntArrayRef strides(view.strides().data(), view.ndim());
  return nn::on_device(at::from_blob(const_cast<void*>(view.address()), shape, strides, options), device);
}

at::Tensor float_input(const sdk::Binds& in, std::string_view name, at::Device device) {
  return to_torch(in.tensor(name), device).to(at::kFloat);
}

at::Tensor optional_input(const sdk::Binds& in, std::string_view name, at::Device device) {
  const auto view = in.find(name);
  return view ? to_torch(*view, device).to(at::kFloat) : at::Tensor();
}

at::Tensor output(sdk::Outputs& out, std::string_view name, at::IntArrayRef shape) {
  return to_torch(out.allocate<float>(std::string(name), sdk::ShapeView(shape.data(), shape.size())));
}

void emit(sdk::Outputs& out, std::string_view name, const at::Tensor& tensor) {
  nn::to_host(tensor, output(out, name, tensor.sizes()));
}

medgen_tensor_t float_view(const at::Tensor& tensor) {
  medgen_tensor_t view{};
  view.data = tensor.data_ptr();
  view.device = {tensor.is_cuda() ? MEDGEN_DEVICE_CUDA : MEDGEN_DEVICE_CPU, tensor.is_cuda() ? tensor.get_device() : 0};
  view.ndim = static_cast<std::int32_t>(tensor.dim());
  view.dtype = sdk::kFloat32;
  view.shape = const_cast<std::int64_t*>(tensor.sizes().data());
  view.strides = const_cast<std::int64_t*>(tensor.strides().data());
  return view;
}

void put(const sdk::StateSink& sink, std::string_view name, const at::Tensor& tensor) {
  at::Tensor here = tensor;
  if (!tensor.is_cpu() || !tensor.is_contiguous()) {
    here = nn::large_array(tensor.sizes(), at::kFloat);  // outside the heap, where hundreds would leave gaps
    nn::to_host(tensor, here);
  }
  sink.put(name, float_view(here));
}

nn::StreamOptions stream_options(std::uint64_t memory_budget, std::uint64_t other_bytes, at::Device device) {
  constexpr std::int64_t kByDefault = std::int64_t{3} << 29;
  constexpr std::int64_t kDeviceSlab = std::int64_t{256} << 20;  // a GPU wants more at a time than a cache holds
  nn::StreamOptions options;
  options.devices = {device};
  if (!device.is_cpu()) options.slab_bytes = kDeviceSlab;
  options.scratch = std::filesystem::temp_directory_path();
  options.memory = kByDefault;
  if (memory_budget > 0) {
    const auto left = static_cast<std::int64_t>(memory_budget) - static_cast<std::int64_t>(other_bytes);
    options.memory = std::max<std::int64_t>(left, 1);
    if (!device.is_cpu()) options.device_memory = options.memory;
  }
  return options;
}

nn::WeightSource weight_source(const sdk::Weights& weights) {
  return {weights.names(), [weights](const std::string& name) { return to_torch(weights.get(name)); }};
}

at::Device prepare_device(const sdk::Create& create) {
  const medgen_device_t device = create.device();
  // Process-wide, so only when it changes: the host gives every plugin the same number.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const int threads = static_cast<int>(sdk::thread_count());
  if (at::get_num_threads() != threads) at::set_num_threads(threads);
  if (device.type != MEDGEN_DEVICE_CUDA) return at::kCPU;
  const int devices = cuda_devices();
  if (device.index >= devices) {
    throw sdk::Error(MEDGEN_E_DEVICE,
                     sdk::text("LibTorch sees ", devices, " CUDA devices, so there is no cuda:", device.index,
                               "; check the driver (nvidia-smi), or compute on the \"cpu\""));
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(device.index)};
}

at::ScalarType compute_type(const sdk::Create& create) {
  return create.precision() == MEDGEN_PRECISION_BF16 ? at::kBFloat16 : at::kFloat;
}

void load_weights(nn::Module& module, const sdk::Create& create, at::Device device) {
  if (!create.weights().given()) return;
  module.set_precision(compute_type(create), device);
  module.load(weight_source(create.weights()));
  module.to(device);
}

nlohmann::json weight_list(nn::Module& module) {
  auto list = nlohmann::json::array();
  for (const nn::NamedParameter& named : module.parameters()) {
    list.push_back({{"name", named.name}, {"shape", named.parameter->shape}});
  }
  return list;
}

void require_weights(nn::Module& module, std::string_view id) {
  const auto parameters = module.parameters();
  if (!parameters.empty() && parameters.front().parameter->value.defined()) return;
  throw sdk::Error(MEDGEN_E_STATE,
                   sdk::text(id, " was created without weights; give the model's component \"weights\", or train it"));
}

at::Tensor row_by_row(std::int64_t batch, const std::function<at::Tensor(std::int64_t row)>& one) {
  if (batch == 1) return one(0);
  std::vector<at::Tensor> rows;
  for (std::int64_t n = 0; n < batch; ++n) rows.push_back(one(n));
  return at::cat(rows);
}

at::Tensor row_of(const at::Tensor& tensor, std::int64_t n) {
  if (!tensor.defined() || tensor.size(0) == 1) return tensor;
  return tensor.narrow(0, n, 1);
}

medgen_status_t status_of(const std::exception& error) noexcept {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return MEDGEN_E_OUT_OF_MEMORY;
  // LibTorch's CPU allocator has no class of its own for this.
  const std::string_view what = error.what();
  if (what.find("not enough memory") != std::string_view::npos) return MEDGEN_E_OUT_OF_MEMORY;
  return MEDGEN_E_INTERNAL;
}

std::string message_of(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return torch_error == nullptr ? error.what() : torch_error->what_without_backtrace();
}

}  // namespace medgen::support
