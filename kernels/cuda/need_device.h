// SPDX-License-Identifier: Apache-2.0
// For tests, which include Catch2 themselves.
#pragma once

/// Catch2 2 cannot skip: without a device the case passes, and says that it saw none.
#define NEED_DEVICE(is_there)        \
  if (!(is_there)) {                 \
    WARN("no CUDA device: skipped"); \
    return;                          \
  }
