// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/ddim.h"
#include "plugins/schedulers/ddpm.h"
#include "plugins/schedulers/dpm_solver.h"
#include "plugins/schedulers/pndm.h"
#include "plugins/schedulers/rflow.h"
#include "plugins/schedulers/unipc.h"

#include <medgen/sdk/plugin.hpp>

namespace {

constexpr medgen::sdk::Plugin kPlugin{
    .id = "schedulers",
    .version = MEDGEN_VERSION,
    .vendor = "medgen",
    .license = "Apache-2.0",
    .summary = "Sampling processes: DDPM, DDIM, PNDM, DPM-Solver++, UniPC, rectified flow."};

}  // namespace

MEDGEN_PLUGIN(kPlugin, medgen::sdk::scheduler<medgen::schedulers::Ddpm>,
              medgen::sdk::scheduler<medgen::schedulers::Ddim>, medgen::sdk::scheduler<medgen::schedulers::Rflow>,
              medgen::sdk::scheduler<medgen::schedulers::Pndm>, medgen::sdk::scheduler<medgen::schedulers::DpmSolver>,
              medgen::sdk::scheduler<medgen::schedulers::UniPc>)
