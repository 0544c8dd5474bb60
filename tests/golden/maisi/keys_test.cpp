// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/maisi/networks/patch_discriminator.h"
#include "tests/golden/maisi/configs.h"
#include "tests/golden/support/golden.h"

#include <catch2/catch.hpp>

// State dicts: names, order, shapes and parameter counts as published. No weights are made, so the full sizes cost
// nothing.

namespace medgen::maisi {
namespace {

struct Case {
  std::string name;
  std::unique_ptr<nn::Module> network;
  int64_t count;
};

template <typename Network, typename Config>
std::unique_ptr<nn::Module> make(const nlohmann::json& config) {
  return std::make_unique<Network>(Config::from_json(config));
}

std::vector<Case> cases(bool full) {
  const auto unet = [&](bool rflow) {
    return make<DiffusionModelUNetMaisi, DiffusionModelUNetMaisiConfig>(golden::unet(full, rflow));
  };
  const auto controlnet = [&](bool rflow) {
    return make<ControlNetMaisi, ControlNetMaisiConfig>(golden::controlnet(full, rflow));
  };
  std::vector<Case> all;
  all.push_back({"autoencoder", make<AutoencoderKlMaisi, AutoencoderKlMaisiConfig>(golden::autoencoder(full)),
                 full ? 20'944'897 : 1'322'545});
  all.push_back({"mask_autoencoder", make<AutoencoderKlMaisi, AutoencoderKlMaisiConfig>(golden::mask_autoencoder(full)),
                 full ? 5'256'509 : 356'573});
  all.push_back({"unet_ddpm", unet(false), full ? 169'370'884 : 4'543'236});
  all.push_back({"unet_rflow", unet(true), full ? 180'500'868 : 4'889'636});
  all.push_back({"controlnet_ddpm", controlnet(false), full ? 68'644'944 : 1'718'944});
  all.push_back({"controlnet_rflow", controlnet(true), full ? 72'037'072 : 1'900'928});
  all.push_back({"mask_unet", make<DiffusionModelUNet, DiffusionModelUNetConfig>(golden::mask_unet(full)),
                 full ? 197'163'012 : 5'127'620});
  all.push_back({"discriminator", make<PatchDiscriminator, PatchDiscriminatorConfig>(golden::discriminator(full)),
                 full ? 2'770'977 : 176'649});
  return all;
}

}  // namespace

TEST_CASE("maisi: state dicts have the published names, shapes and order", "[golden][maisi]") {
  const bool full = GENERATE(false, true);
  for (const Case& item : cases(full)) {
    INFO(item.name << (full ? " full" : " small"));
    const std::vector<medgen::golden::Key> keys =
        medgen::golden::read_keys("maisi/keys/" + item.name + (full ? "_full.txt" : "_small.txt"));
    const std::vector<nn::NamedParameter> parameters = item.network->parameters();
    REQUIRE(parameters.size() == keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      CHECK(parameters[i].name == keys[i].name);
      CHECK(parameters[i].parameter->shape == keys[i].shape);
    }
  }
}

TEST_CASE("maisi: networks have the published number of parameters", "[golden][maisi]") {
  const bool full = GENERATE(false, true);
  for (const Case& item : cases(full)) {
    INFO(item.name << (full ? " full" : " small"));
    CHECK(item.network->parameter_count() == item.count);
  }
}

}  // namespace medgen::maisi
