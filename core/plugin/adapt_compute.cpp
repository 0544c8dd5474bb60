// SPDX-License-Identifier: Apache-2.0
// Denoisers, conditioners and compressors: components whose functions take named tensors and give named tensors.
// N batch, C channels.

#include "core/component/compressor.h"
#include "core/component/conditioner.h"
#include "core/component/denoiser.h"
#include "core/plugin/plugin_component.h"

#include <medgen/abi/medgen.h>

#include <algorithm>

namespace medgen {
namespace {

class PluginDenoiser final : public Denoiser, public PluginComponent {
 public:
  using PluginComponent::PluginComponent;

  void prepare(const CallContext& context, const TensorMap& conditions) override {
    const auto slot = self().slot(&medgen_denoiser_t::prepare);
    if (slot == nullptr) return;
    CallFrame frame(self().services(), context);
    const AbiBinds binds(conditions);
    frame.run([&] { self().call("prepare", slot, frame.context(), self().get(), binds.get()); });
  }

  Tensor predict(const CallContext& context, const TensorMap& in) override {
    const auto x = in.find("x");
    check(x != in.end() && in.contains("timesteps"), "a denoiser is given x and timesteps");
    TensorMap outputs = compute(functions().front(), context, in);
    Tensor out = take(outputs, "predict", "out");
    check_like(x->second.shape(), out);
    return out;
  }

 private:
  std::vector<Function> functions() const override { return {{"predict", self().slot(&medgen_denoiser_t::predict)}}; }

  /// (N, C or 2C, spatial...) of x (N, C, spatial...), float32.
  void check_like(const Shape& x, const Tensor& out) const {
    Shape doubled = x;
    if (doubled.size() > 1) doubled[1] *= 2;
    if (out.dtype() == DType::F32 && (out.shape() == x || out.shape() == doubled)) return;
    throw PluginError("{}: predict gave 'out' as {} {} for x {}: F32 {} or {} is needed to sample with it", id(),
                      name_of(out.dtype()), to_string(out.shape()), to_string(x), to_string(x), to_string(doubled));
  }
};

class PluginConditioner final : public Conditioner, public PluginComponent {
 public:
  using PluginComponent::PluginComponent;

  bool has_encode() const override { return functions()[0].slot != nullptr; }

  bool has_step() const override { return functions()[1].slot != nullptr; }

  TensorMap encode(const CallContext& context, const Inputs& in) override {
    return compute(functions()[0], context, in.tensors, in.params_json);
  }

  TensorMap step(const CallContext& context, const TensorMap& in) override {
    return compute(functions()[1], context, in);
  }

 private:
  std::vector<Function> functions() const override {
    return {{"encode", self().slot(&medgen_conditioner_t::encode)}, {"step", self().slot(&medgen_conditioner_t::step)}};
  }
};

class PluginCompressor final : public Compressor, public PluginComponent {
 public:
  using PluginComponent::PluginComponent;

  Latent encode(const CallContext& context, const TensorMap& in) override {
    TensorMap outputs = compute(functions()[0], context, in);
    Latent latent{take(outputs, "encode", "mean"), {}};
    if (!outputs.contains("sigma")) return latent;
    latent.sigma = take(outputs, "encode", "sigma");
    if (latent.sigma.shape() != latent.mean.shape()) {
      self().fail_defect("encode", "gave 'mean' of shape {} and 'sigma' of shape {}", to_string(latent.mean.shape()),
                         to_string(latent.sigma.shape()));
    }
    return latent;
  }

  Tensor decode(const CallContext& context, const TensorMap& in) override {
    TensorMap outputs = compute(functions()[1], context, in);
    return take(outputs, "decode", "x");
  }

  Tensor prior(const CallContext& context, const Inputs& in) override {
    TensorMap outputs = compute(functions()[2], context, in.tensors, in.params_json);
    return take(outputs, "prior", "z");
  }

 private:
  std::vector<Function> functions() const override {
    return {{"encode", self().slot(&medgen_compressor_t::encode)},
            {"decode", self().slot(&medgen_compressor_t::decode)},
            {"prior", self().slot(&medgen_compressor_t::prior)}};
  }
};

}  // namespace

std::shared_ptr<Component> adapt_denoiser(std::shared_ptr<PluginObject> object) {
  return std::make_shared<PluginDenoiser>(std::move(object));
}

std::shared_ptr<Component> adapt_conditioner(std::shared_ptr<PluginObject> object) {
  return std::make_shared<PluginConditioner>(std::move(object));
}

std::shared_ptr<Component> adapt_compressor(std::shared_ptr<PluginObject> object) {
  return std::make_shared<PluginCompressor>(std::move(object));
}

}  // namespace medgen
