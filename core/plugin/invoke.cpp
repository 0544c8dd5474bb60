// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/invoke.h"

namespace medgen {

void throw_status(std::string_view what, medgen_status_t status) {
  const std::string text = error_text().empty() ? "the plugin gave no reason" : error_text();
  const std::string code = status_name(status) == "INTERNAL" && status != MEDGEN_E_INTERNAL
                               ? fmt::format("INTERNAL, unknown status {}", status)
                               : std::string(status_name(status));
  switch (status) {
    case MEDGEN_E_CANCELLED:
      throw Cancelled("{}: cancelled", what);
    case MEDGEN_E_OUT_OF_MEMORY:
      throw OutOfMemoryError("{} failed: {} ({})", what, text, code);
    case MEDGEN_E_DEVICE:
      throw DeviceError("{} failed: {} ({})", what, text, code);
    case MEDGEN_E_INVALID:
      throw InvalidError("{} failed: {} ({})", what, text, code);
    default:
      throw PluginError("{} failed: {} ({})", what, text, code);
  }
}

}  // namespace medgen
