// SPDX-License-Identifier: Apache-2.0
#include "core/cli/signals.h"

#include <unistd.h>
#include <csignal>
#include <string_view>

namespace medgen::cli {
namespace {

CancelToken g_cancel;
volatile std::sig_atomic_t g_announce = 0;

void on_signal(int signal) {
  if (g_cancel.cancelled()) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return;
  }
  g_cancel.cancel();
  if (g_announce == 0) return;
  constexpr std::string_view kMessage = "\nmedgen: stopping after this step; once more to stop at once\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
}

}  // namespace

CancelToken& cancel_on_signals(bool announce) {
  g_announce = announce ? 1 : 0;

  struct sigaction action {};

  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  return g_cancel;
}

void ignore_broken_pipes() {
  std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace medgen::cli
