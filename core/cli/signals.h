// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/run/observer.h"

namespace medgen::cli {

/// From now on the first SIGINT or SIGTERM cancels this token, and the second one ends the process as signals do.
/// The token lives as long as the process. `announce`: a line on standard error says that the first signal was heard.
CancelToken& cancel_on_signals(bool announce);

/// A closed pipe is seen as an error of `write` instead of killing the process between two files.
void ignore_broken_pipes();

}  // namespace medgen::cli
