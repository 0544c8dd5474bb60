// SPDX-License-Identifier: Apache-2.0
// MAISI: medical AI for synthetic imaging. Guo et al., arXiv 2409.11169 (ddpm) and arXiv 2508.05772 (rectified flow).
#include "plugins/maisi/anatomy_sizes.h"
#include "plugins/maisi/autoencoder.h"
#include "plugins/maisi/conditioners.h"
#include "plugins/maisi/controlnet.h"
#include "plugins/maisi/denoisers.h"
#include "plugins/maisi/inpainting.h"
#include "plugins/maisi/perceptual_network.h"

#include <medgen/sdk/sdk.hpp>

#include "methods_json.h"

namespace {

constexpr medgen::sdk::Plugin kPlugin{
    .id = "maisi",
    .version = MEDGEN_VERSION,
    .vendor = "medgen",
    .license = "Apache-2.0",
    .summary = "MAISI: 3D CT and MR with label maps by latent diffusion (VAE, U-Nets, ControlNet, mask generator).",
    .runtime = R"({"libtorch": ")" MEDGEN_TORCH_VERSION R"("})",
    .methods = kMethodsJson};

}  // namespace

MEDGEN_PLUGIN(kPlugin, medgen::sdk::compressor<medgen::maisi::Autoencoder>, medgen::sdk::denoiser<medgen::maisi::Unet>,
              medgen::sdk::denoiser<medgen::maisi::MaskUnet>, medgen::sdk::conditioner<medgen::maisi::ControlNet>,
              medgen::sdk::conditioner<medgen::maisi::Conditions>, medgen::sdk::conditioner<medgen::maisi::LabelPlanes>,
              medgen::sdk::conditioner<medgen::maisi::AnatomySizes>,
              medgen::sdk::conditioner<medgen::maisi::Inpainting>,
              medgen::sdk::conditioner<medgen::maisi::PerceptualNetwork>)
