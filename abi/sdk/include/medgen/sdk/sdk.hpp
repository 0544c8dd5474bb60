// SPDX-License-Identifier: Apache-2.0
// Everything a plugin written in C++20 needs. Header-only; depends on the C ABI and the standard library alone.
#pragma once

#include <medgen/sdk/networks.hpp>
#include <medgen/sdk/plugin.hpp>
#include <medgen/sdk/propagator.hpp>
#include <medgen/sdk/scheduler.hpp>
