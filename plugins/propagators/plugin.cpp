// SPDX-License-Identifier: Apache-2.0
#include "plugins/propagators/whole.h"

#include <medgen/sdk/plugin.hpp>

namespace {

constexpr medgen::sdk::Plugin kPlugin{.id = "propagators",
                                      .version = MEDGEN_VERSION,
                                      .vendor = "medgen",
                                      .license = "Apache-2.0",
                                      .summary = "Ways to cover a volume: all at once."};

}  // namespace

MEDGEN_PLUGIN(kPlugin, medgen::sdk::propagator<medgen::propagators::Whole>)
