// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/error.h"
#include "plugins/support/nn/group_norm.h"
#include "plugins/support/nn/layers.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/winograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/avg_pool3d.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/Parallel.h>
#include <catch2/catch.hpp>

#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace medgen::nn {
namespace {

using Catch::Matchers::Contains;
using support::InvalidInput;

/// Two layers and a buffer, as a network has them.
class Toy : public Module {
 public:
  Toy()
      : conv(add<Conv>("block.0.conv", ConvOptions{.in = 2, .out = 4})),
        norm(add<BatchNorm>("block.1", 4, true, Init::ones())),
        linear(add<Linear>("head", 4, 3)) {}

  at::Tensor forward(const at::Tensor& x) const {
    return linear.forward(norm.forward(conv.forward(x)).mean({2, 3, 4}));
  }

  Conv& conv;
  BatchNorm& norm;
  Linear& linear;

 private:
  bool ignores(std::string_view name) const override { return name == "old.weight"; }
};

std::map<std::string, at::Tensor> values_of(Module& module) {
  std::map<std::string, at::Tensor> values;
  for (const auto& [name, parameter] : module.parameters()) values[name] = parameter->value.clone();
  return values;
}

WeightSource source_of(std::map<std::string, at::Tensor>& values) {
  WeightSource source;
  for (const auto& [name, value] : values) source.names.push_back(name);
  source.tensor = [&values](const std::string& name) { return values.at(name); };
  return source;
}

}  // namespace

TEST_CASE("module: a layer's path is the prefix of its parameters", "[unit][nn]") {
  Toy toy;
  CHECK(toy.path().empty());
  CHECK(toy.conv.path() == "block.0.conv");
  CHECK(toy.linear.path() == "head");
}

TEST_CASE("module: parameters keep the order of their making", "[unit][nn]") {
  Toy toy;
  std::vector<std::string> names;
  for (const NamedParameter& named : toy.parameters()) names.push_back(named.name);
  CHECK(names == std::vector<std::string>{"block.0.conv.weight", "block.0.conv.bias", "block.1.weight", "block.1.bias",
                                          "block.1.running_mean", "block.1.running_var", "block.1.num_batches_tracked",
                                          "head.weight", "head.bias"});
}

TEST_CASE("module: buffers are not counted as parameters", "[unit][nn]") {
  CHECK(Toy().parameter_count() == (4 * 2 * 27 + 4) + 8 + (4 * 3 + 3));
}

TEST_CASE("module: initialisation is a function of the seed alone", "[unit][nn]") {
  Toy first, second, other;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  first.initialize(7);
  at::set_num_threads(2);
  second.initialize(7);
  at::set_num_threads(threads);
  other.initialize(8);
  CHECK(first.conv.parameters()[0].parameter->value.equal(second.conv.parameters()[0].parameter->value));
  CHECK_FALSE(first.conv.parameters()[0].parameter->value.equal(other.conv.parameters()[0].parameter->value));
}

TEST_CASE("module: convolutions start uniform within one over the root of the fan in", "[unit][nn]") {
  Conv conv(ConvOptions{.in = 16, .out = 32});
  conv.initialize(1);
  const at::Tensor weight = conv.parameters()[0].parameter->value;
  const double bound = 1 / std::sqrt(16.0 * 27.0);
  CHECK(weight.abs().max().item<double>() <= bound);
  CHECK(weight.std().item<double>() == Approx(bound / std::sqrt(3.0)).epsilon(0.02));
}

TEST_CASE("module: what was saved loads back bit for bit", "[unit][nn]") {
  Toy from, to;
  from.initialize(3);
  auto values = values_of(from);
  to.load(source_of(values));
  for (const auto& [name, value] : values_of(to)) CHECK(value.equal(values.at(name)));
}

TEST_CASE("module: loading copies, so that training cannot write into a mapped file", "[unit][nn]") {
  Toy from, to;
  from.initialize(3);
  auto values = values_of(from);
  to.load(source_of(values));
  to.linear.parameters()[0].parameter->value.zero_();
  CHECK(values.at("head.weight").abs().max().item<float>() > 0);
}

TEST_CASE("module: names that the network declares harmless may be in the file", "[unit][nn]") {
  Toy toy;
  toy.initialize(3);
  auto values = values_of(toy);
  values["old.weight"] = at::zeros({1});
  CHECK_NOTHROW(toy.load(source_of(values)));
}

TEST_CASE("module: a missing tensor is refused by name and shape", "[unit][nn]") {
  Toy toy;
  toy.initialize(3);
  auto values = values_of(toy);
  values.erase("head.weight");
  CHECK_THROWS_WITH(toy.load(source_of(values)), Contains("'head.weight' [3, 4] is missing"));
}

TEST_CASE("module: a tensor of another shape is refused with both shapes", "[unit][nn]") {
  Toy toy;
  toy.initialize(3);
  auto values = values_of(toy);
  values["head.weight"] = at::zeros({4, 3});
  CHECK_THROWS_WITH(toy.load(source_of(values)), Contains("'head.weight' has shape [4, 3], [3, 4] is wanted"));
}

TEST_CASE("module: an unexpected tensor is refused", "[unit][nn]") {
  Toy toy;
  toy.initialize(3);
  auto values = values_of(toy);
  values["extra"] = at::zeros({1});
  CHECK_THROWS_WITH(toy.load(source_of(values)), Contains("'extra' is not part of the network"));
}

TEST_CASE("module: integers are no weights", "[unit][nn]") {
  Toy toy;
  toy.initialize(3);
  auto values = values_of(toy);
  values["head.bias"] = at::zeros({3}, at::kLong);
  CHECK_THROWS_AS(toy.load(source_of(values)), InvalidInput);
}

TEST_CASE("module: a refused file leaves the weights as they were", "[unit][nn]") {
  Toy toy;
  toy.initialize(3);
  auto values = values_of(toy);
  auto changed = values_of(toy);
  changed["block.0.conv.weight"].zero_();
  changed.erase("head.bias");
  CHECK_THROWS_AS(toy.load(source_of(changed)), InvalidInput);
  for (const auto& [name, value] : values_of(toy)) CHECK(value.equal(values.at(name)));
}

TEST_CASE("module: a long list of faults is cut short", "[unit][nn]") {
  Toy toy;
  std::map<std::string, at::Tensor> none;
  CHECK_THROWS_WITH(toy.load(source_of(none)), Contains("and 1 more"));
}

TEST_CASE("module: unknown precisions are refused", "[unit][nn]") {
  CHECK_THROWS_AS(Toy().set_precision(at::kLong), InvalidInput);
}

TEST_CASE("module: wide weights stay float32 where the CPU computes in it, and lose no digits then", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const ConvOptions options{.in = 8, .out = 6, .role = GENERATE(Role::Wide, Role::Compute)};
  Conv conv(options);
  conv.initialize(5);
  const at::Tensor exact = conv.parameters().front().parameter->value.clone();
  conv.set_precision(at::kBFloat16);
  const at::Tensor& weight = conv.parameters().front().parameter->value;
  const at::ScalarType stored = stored_type(options.role, at::kBFloat16, at::kCPU);
  const bool wide = options.role == Role::Wide && prefers_float(at::kBFloat16);
  CHECK(stored == (wide ? at::kFloat : product_type(at::kBFloat16, at::kCPU)));
  CHECK(weight.scalar_type() == stored);
  CHECK(stored_type(options.role, at::kBFloat16, at::kCUDA) == at::kBFloat16);
  CHECK(stored_type(Role::Exact, at::kBFloat16, at::kCPU) == at::kFloat);
  conv.load({.names = {"weight", "bias"},
             .tensor = [&](const std::string& name) { return name == "weight" ? exact : at::zeros({6}); }});
  CHECK(weight.scalar_type() == stored);
  const at::Tensor x = channels_last(at::randn({1, 8, 5, 6, 7}).to(at::kBFloat16));
  const at::Tensor expected = at::conv3d(x.to(at::kDouble), exact.to(at::kDouble), {}, 1, 1);
  const at::Tensor sum = channels_last(at::zeros({1, 6, 5, 6, 7}));
  const double error = conv.forward_add(x, sum).to(at::kDouble).sub(expected).norm().item<double>();
  CHECK((error < 1e-5 * expected.norm().item<double>()) == (stored == at::kFloat));
}

TEST_CASE("module: gradients reach float32 parameters through half-width activations", "[unit][nn]") {
  Toy toy;
  toy.initialize(5);
  toy.set_compute_dtype(at::kBFloat16);
  for (const auto& [name, parameter] : toy.parameters()) {
    if (parameter->trainable()) parameter->value.requires_grad_(true);
  }
  toy.forward(at::randn({2, 2, 4, 4, 4}).to(toy.compute_dtype())).to(at::kFloat).square().sum().backward();
  const at::Tensor gradient = toy.conv.parameters()[0].parameter->value.grad();
  CHECK(gradient.scalar_type() == at::kFloat);
  CHECK(gradient.abs().sum().item<double>() > 0);
}

TEST_CASE("module: batch statistics are gathered in training only", "[unit][nn]") {
  BatchNorm norm(4, true, Init::ones());
  norm.initialize(1);
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({2, 4, 3, 3, 3}).add(5);
  norm.forward(x);
  CHECK(norm.parameters()[2].parameter->value.abs().max().item<float>() == 0);
  norm.train(true);
  norm.forward(x);
  CHECK(norm.parameters()[2].parameter->value.mean().item<float>() == Approx(0.5).epsilon(0.1));
  CHECK(norm.parameters()[4].parameter->value.item<int64_t>() == 1);
}

TEST_CASE("module: tensors of equal name and shape are copied between networks, others stay", "[unit][nn]") {
  Toy from;
  Conv to(ConvOptions{.in = 2, .out = 4});
  from.initialize(1);
  to.initialize(2);
  CHECK(copy_matching_parameters(from, to) == 0);
  CHECK(copy_matching_parameters(from.conv, to) == 2);
  CHECK(to.parameters()[0].parameter->value.equal(from.conv.parameters()[0].parameter->value));
}

TEST_CASE("layers: group norm and SiLU in one call equal the two, with the shift added first", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  GroupNorm norm(2, 4, 1e-6);
  norm.initialize(1);
  const at::Tensor x = channels_last(at::randn({2, 4, 3, 5, 2}));
  const at::Tensor shift = at::randn({2, 4}).mul(50);
  const at::Tensor moved = x.add(shift.view({2, 4, 1, 1, 1}));
  CHECK(norm.forward_silu(x, shift).allclose(silu(norm.forward(moved)), 1e-5, 1e-5));
  CHECK(norm.forward_silu(x).allclose(silu(norm.forward(x)), 1e-5, 1e-6));
}

TEST_CASE("layers: kernels run on as many threads as LibTorch's operators", "[unit][nn]") {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    const auto meet = [&] {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    };
    const auto part = [](const void* of, std::int64_t, std::int64_t) { (*static_cast<decltype(meet)*>(of))(); };
    const kernels::Cpu cpu = on_torch_threads();
    cpu.parallel(cpu.threads, 64, 1, part, &meet);
    CHECK(seen.size() == static_cast<std::size_t>(threads));
  }
  at::set_num_threads(before);
}

TEST_CASE("layers: the number of threads does not change a bit", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const int64_t kernel = GENERATE(1, 3);
  Conv conv(ConvOptions{.in = 16, .out = 16, .kernel = kernel, .padding = kernel / 2});
  GroupNorm norm(8, 16, 1e-6);
  conv.initialize(1);
  norm.initialize(1);
  const at::Tensor x = channels_last(at::randn({1, 16, 32, 48, 32}));
  const auto with_threads = [&](int threads) {
    at::set_num_threads(threads);
    return norm.forward_silu(conv.forward(x));
  };
  const int before = at::get_num_threads();
  const at::Tensor one = with_threads(1);
  CHECK(one.equal(with_threads(2)));
  CHECK(one.equal(with_threads(3)));
  at::set_num_threads(before);
}

TEST_CASE("layers: group norm keeps its digits where means are large, with the channels last too", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const int64_t rank = GENERATE(2, 3);
  GroupNorm norm(8, 8, 1e-6);
  norm.initialize(1);
  std::vector<int64_t> shape(static_cast<size_t>(rank) + 2, 12);
  shape[0] = 1, shape[1] = 8;
  const at::Tensor x = at::randn(shape).add(300);
  const at::Tensor exact = at::group_norm(x.to(at::kDouble), 8, {}, {}, 1e-6).to(at::kFloat);
  CHECK(norm.forward(channels_last(x)).allclose(exact, 1e-4, 1e-4));
  CHECK(norm.forward_silu(channels_last(x)).allclose(silu(exact), 1e-4, 1e-4));
}

TEST_CASE("layers: a large shift does not cost half-width activations their digits", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  GroupNorm norm(2, 8, 1e-6);
  norm.initialize(1);
  const at::Tensor x = channels_last(at::randn({1, 8, 6, 6, 6})).to(at::kBFloat16);
  const at::Tensor shift = at::randn({1, 8}).mul(100);
  const at::Tensor exact = norm.forward_silu(x.to(at::kFloat), shift);
  CHECK(norm.forward_silu(x, shift).to(at::kFloat).sub(exact).norm().item<double>() <
        3e-3 * exact.norm().item<double>());
}

TEST_CASE("layers: group norm's gradients are those of its definition", "[unit][nn]") {
  const bool with_silu = GENERATE(true, false);
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  const int64_t mean = GENERATE(0, 300);
  const at::Tensor slope = channels_last(at::randn({2, 6, 5, 4, 3})).to(type);
  // Half-width activations have no digits for a large mean; a shift, in float32, has.
  const std::vector<at::Tensor> values = {
      channels_last(at::randn({2, 6, 5, 4, 3}).add(type == at::kFloat ? mean : 0)).to(type),
      at::randn({6}).mul(0.3).add(1), at::randn({6}).mul(0.3), at::randn({2, 6}).add(mean)};
  std::vector<at::Tensor> ours, exact;
  for (const at::Tensor& value : values) {
    ours.push_back(value.detach().requires_grad_(true));
    exact.push_back(value.to(at::kDouble).requires_grad_(true));
  }
  differentiable_norm(ours[0], with_silu ? ours[3] : at::Tensor(), ours[1], ours[2], {2, 1e-6, with_silu})
      .backward(slope);
  const at::Tensor moved = with_silu ? exact[0].add(exact[3].view({2, 6, 1, 1, 1})) : exact[0];
  const at::Tensor y = at::group_norm(moved, 2, exact[1], exact[2], 1e-6);
  (with_silu ? y.mul(y.sigmoid()) : y).backward(slope.to(at::kDouble));
  for (size_t i = 0; i < (with_silu ? 4 : 3); ++i) {
    INFO("tensor " << i << " mean " << mean);
    const at::Tensor error = ours[i].grad().to(at::kDouble).sub(exact[i].grad());
    CHECK(error.norm().item<double>() < (type == at::kFloat ? 1e-4 : 5e-3) * exact[i].grad().norm().item<double>());
  }
}

TEST_CASE("layers: gradients do not depend on the number of threads", "[unit][nn]") {
  GroupNorm norm(8, 16, 1e-6);
  norm.initialize(1);
  const at::Tensor x = channels_last(at::randn({2, 16, 16, 24, 16})).to(at::kBFloat16).requires_grad_(true);
  const auto with_threads = [&](int threads) {
    at::set_num_threads(threads);
    x.mutable_grad().reset();
    norm.forward_silu(x).to(at::kFloat).square().sum().backward();
    return x.grad().clone();
  };
  const int before = at::get_num_threads();
  const at::Tensor one = with_threads(1);
  CHECK(one.equal(with_threads(2)));
  CHECK(one.equal(with_threads(3)));
  at::set_num_threads(before);
}

TEST_CASE("layers: labels outside an embedding are refused", "[unit][nn]") {
  Embedding embedding(4, 2);
  embedding.initialize(1);
  CHECK_THROWS_WITH(embedding.check(at::ones({1}, at::kLong).mul(4)), Contains("4 is outside 0..3"));
  CHECK_THROWS_AS(embedding.check(at::ones({1}, at::kLong).neg()), InvalidInput);
}

TEST_CASE("ops: the time embedding has its cosines first, and a zero where the length is odd", "[unit][nn]") {
  const at::Tensor embedding = timestep_embedding(at::zeros({2}), 5);
  CHECK(embedding.equal(at::zeros({2, 5}).index_fill_(1, at::ones({2}, at::kLong).cumsum(0).sub(1), 1)));
}

TEST_CASE("ops: tokens are row-major voxels, and a round trip changes nothing", "[unit][nn]") {
  const at::Tensor x = channels_last(at::randn({2, 3, 4, 5, 6}));
  const at::Tensor tokens = to_tokens(x);
  CHECK(tokens.data_ptr() == x.data_ptr());
  CHECK(tokens.is_contiguous());
  CHECK(from_tokens(tokens, x).equal(x));
}

TEST_CASE("ops: joined channels are those of the first map, then those of the second", "[unit][nn]") {
  const at::AutoGradMode gradients(GENERATE(false, true));
  const auto shape = GENERATE(std::vector<int64_t>{2, 3, 2, 4, 3}, std::vector<int64_t>{1, 3, 5, 2});
  const at::Tensor a = channels_last(at::randn(shape)), b = at::randn(shape);
  const at::Tensor joined = join_channels(a, b);
  CHECK(joined.narrow(1, 0, 3).equal(a));
  CHECK(joined.narrow(1, 3, 3).equal(b));
  CHECK(join_channels(a, b.to(at::kBFloat16)).scalar_type() == at::kFloat);
}

TEST_CASE("ops: repeated voxels are LibTorch's, with gradients or without", "[unit][nn]") {
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  const at::Tensor x = channels_last(at::randn({2, 3, 2, 1, 3})).to(type);
  const at::Tensor expected = x.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4);
  const at::AutoGradMode gradients(GENERATE(false, true));
  CHECK(upsample_nearest_2x(x).equal(expected));
}

TEST_CASE("group norm: float32 may be rounded behind it", "[unit][nn]") {
  GroupNorm norm(2, 8, 1e-6);
  norm.initialize(1);
  const at::Tensor x = channels_last(at::randn({2, 8, 4, 3, 5}));
  const at::AutoGradMode gradients(GENERATE(false, true));
  const at::Tensor exact = norm.forward_silu(x), rounded = norm.forward_silu_as(at::kBFloat16, x);
  CHECK(rounded.scalar_type() == at::kBFloat16);
  CHECK(rounded.to(at::kFloat).allclose(exact, 2e-2, 2e-2));
  if (!at::GradMode::is_enabled()) CHECK(rounded.equal(exact.to(at::kBFloat16)));
  CHECK(norm.forward_silu_as(at::kFloat, x).equal(exact));
}

TEST_CASE("ops: averaging undoes repeating", "[unit][nn]") {
  const bool half = GENERATE(false, true);
  const at::Tensor x = channels_last(at::randn({1, 3, 2, 4, 3})).to(half ? at::kBFloat16 : at::kFloat);
  CHECK(average_pool_2x(upsample_nearest_2x(x)).allclose(x, 1e-6));
}

TEST_CASE("ops: gradients of means of eight are LibTorch's", "[unit][nn]") {
  const auto shape = GENERATE(std::vector<int64_t>{2, 3, 4, 2, 6}, std::vector<int64_t>{1, 3, 3, 5, 2});
  const at::AutoGradMode gradients(true);
  const at::Tensor x = channels_last(at::randn(shape)).requires_grad_(true);
  const at::Tensor mean = average_pool_2x(x), expected = at::avg_pool3d(x, 2, 2), dy = at::randn(mean.sizes());
  CHECK(mean.allclose(expected, 1e-6));
  mean.backward(dy);
  const at::Tensor gradient = x.grad().clone();
  x.mutable_grad().zero_();
  expected.backward(dy);
  CHECK(gradient.equal(x.grad()));
  CHECK(average_pool_2x(x.detach().to(at::kBFloat16)).equal(average_pool_2x(x.to(at::kBFloat16))));
}

TEST_CASE("ops: the last odd voxel has no part in means of two", "[unit][nn]") {
  const at::AutoGradMode gradients(GENERATE(false, true));
  const at::Tensor x = channels_last(at::randn({1, 3, 3, 5, 2}));
  CHECK(average_pool_2x(x).sizes() == at::IntArrayRef({1, 3, 1, 2, 1}));
  CHECK(average_pool_2x(x).allclose(average_pool_2x(channels_last(x.slice(2, 0, 2).slice(3, 0, 4))), 1e-6));
}

TEST_CASE("ops: an axis of one voxel has no means of two, with gradients or without", "[unit][nn]") {
  const at::AutoGradMode gradients(GENERATE(false, true));
  const auto shape = GENERATE(std::vector<int64_t>{1, 2, 1, 4, 4}, std::vector<int64_t>{1, 2, 4, 4, 1},
                              std::vector<int64_t>{1, 2, 4, 1});
  CHECK_THROWS_WITH(average_pool_2x(at::zeros(shape)), Catch::Matchers::Contains("along an axis of 1"));
}

TEST_CASE("conv: the bfloat16 gradient of the weights is right on axes as short as the kernel", "[unit][nn]") {
  const bool transposed = GENERATE(false, true);
  const int64_t kernel = GENERATE(2, 3, 4), stride = GENERATE(1, 2), shortest = GENERATE(1, 2, 3, 4);
  const auto axis = GENERATE(size_t{0}, size_t{1}, size_t{2});
  const int64_t padding = kernel / 2;
  Conv conv({.in = 8, .out = 16, .kernel = kernel, .stride = stride, .padding = padding, .transposed = transposed});
  if (conv.output_length(shortest) < 1) return;
  conv.initialize(1);
  std::vector<int64_t> shape = {2, 8, 5, 5, 5};
  shape[2 + axis] = shortest;
  CAPTURE(transposed, kernel, stride, shape);
  const at::Tensor x = channels_last(at::randn(shape).to(at::kBFloat16));
  at::Tensor weight = conv.parameters().front().parameter->value.requires_grad_(true);
  const auto gradient = [&](at::ScalarType type) {
    weight.mutable_grad() = at::Tensor();
    for (const int64_t numel : {500, 1000, 4000, 20000})
      at::ones({numel}).mul_(std::nan(""));  // left behind in free memory
    conv.forward(x.to(type)).to(at::kFloat).square().sum().backward();
    return weight.grad().clone();
  };
  const at::Tensor exact = gradient(at::kFloat);
  const double error = gradient(at::kBFloat16).sub(exact).norm().item<double>();
  CHECK(error < 0.03 * exact.norm().item<double>());
}

}  // namespace medgen::nn
