// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/device.h"
#include "plugins/support/nn/module.h"
#include "plugins/support/nn/stream.h"

#include <ATen/core/Tensor.h>
#include <medgen/sdk/draft/train.hpp>
#include <medgen/sdk/sdk.hpp>
#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <string>
#include <string_view>

// Between the host's tensors and LibTorch's.

namespace medgen::support {

/// The host's tensor as a torch tensor on `device`, without a copy when it is there already. Valid for the call.
at::Tensor to_torch(const sdk::TensorView& view, at::Device device = at::kCPU);

/// As float32 on `device`.
at::Tensor float_input(const sdk::Binds& in, std::string_view name, at::Device device);

/// As float32, or an undefined tensor when the name is absent.
at::Tensor optional_input(const sdk::Binds& in, std::string_view name, at::Device device);

/// An output of the call, float32, row-major, to be written to.
at::Tensor output(sdk::Outputs& out, std::string_view name, at::IntArrayRef shape);

/// Copies a torch tensor into an output of the call, float32, row-major.
void emit(sdk::Outputs& out, std::string_view name, const at::Tensor& tensor);

/// A dense float32 tensor as the host sees it, where it lies; borrows the tensor.
medgen_tensor_t float_view(const at::Tensor& tensor);

/// Lends a torch tensor to a sink, row-major on the CPU.
void put(const sdk::StateSink& sink, std::string_view name, const at::Tensor& tensor);

/// Weights of the host, lent as torch tensors that share their memory.
nn::WeightSource weight_source(const sdk::Weights& weights);

/// How a component streams volumes through its network, within the memory that the host allows it. Without a budget
/// feature maps and slabs take up to 1.5 GiB of memory, and files in the temporary folder beyond.
/// @param other_bytes  of the call's tensors and of the weights
nn::StreamOptions stream_options(std::uint64_t memory_budget, std::uint64_t other_bytes, at::Device device);

/// Sets up LibTorch for a component: threads as the host allows, CUDA where it is asked for. Returns the device.
/// @throws sdk::Error when there is no such device
at::Device prepare_device(const sdk::Create& create);

/// bf16 where the host asks for it, else fp32.
at::ScalarType compute_type(const sdk::Create& create);

/// Weights loaded strictly when there are some; none: parameters stay undefined until training initialises them.
void load_weights(nn::Module& module, const sdk::Create& create, at::Device device);

/// Names and shapes of all weights, for a component's description: [{"name", "shape"}].
nlohmann::json weight_list(nn::Module& module);

/// @throws sdk::Error when the module holds no weights. `id` names the component.
void require_weights(nn::Module& module, std::string_view id);

/// Runs `one` on each row of the batch and joins the results: a sample's bits do not depend on the batch it came in.
at::Tensor row_by_row(std::int64_t batch, const std::function<at::Tensor(std::int64_t row)>& one);

/// Row `n` of `tensor` with its batch axis kept; the whole tensor when it has one row for all; undefined stays
/// undefined.
at::Tensor row_of(const at::Tensor& tensor, std::int64_t n);

/// How exceptions of LibTorch are told to the host.
medgen_status_t status_of(const std::exception& error) noexcept;
/// Their text, without the stack.
std::string message_of(const std::exception& error);

}  // namespace medgen::support
