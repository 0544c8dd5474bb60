// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/component/component.h"
#include "core/plugin/abi_text.h"
#include "core/plugin/services.h"

#include <exception>
#include <string>
#include <string_view>

namespace medgen {

/// Throws what a status other than OK means: Cancelled, OutOfMemoryError, DeviceError, InvalidError, else PluginError.
/// `what` is "maisi.unet: predict"; the text is the one the plugin set on this thread.
[[noreturn]] void throw_status(std::string_view what, medgen_status_t status);

/// A slot of a table, nullptr when the table is too short for it or holds NULL: MEDGEN_HAS_FN for member pointers.
template <typename Table, typename Slot>
Slot slot_of(const Table& table, Slot Table::*member) {
  const auto* start = reinterpret_cast<const char*>(&table);
  const auto* end = reinterpret_cast<const char*>(&(table.*member) + 1);
  return table.struct_size >= static_cast<std::size_t>(end - start) ? table.*member : nullptr;
}

/// Calls a plugin's function. Every function of the ABI is noexcept, and a plugin that keeps this rule never gets here
/// with an exception; one that breaks it is caught all the same where the unwinder can pass its frames.
/// @throws PluginError when an exception leaves the function.
template <typename Result, typename... Parameters, typename... Arguments>
Result call_plugin(std::string_view what, Result (*function)(Parameters...) noexcept, Arguments... arguments) {
  // The type without noexcept, or the compiler leaves the handlers out.
  Result (*const may_throw)(Parameters...) = function;
  set_error_text({});
  try {
    return may_throw(arguments...);
  } catch (const std::exception& error) {
    throw PluginError("{}: an exception left the plugin, which is a defect of it: {}", what,
                      message_text(abi_text(error.what())));
  } catch (...) {
    throw PluginError("{}: an exception of unknown type left the plugin, which is a defect of it", what);
  }
}

/// The same for functions that return a status. @throws as `throw_status`
template <typename... Parameters, typename... Arguments>
void check_plugin_call(std::string_view what, medgen_status_t (*function)(Parameters...) noexcept,
                       Arguments... arguments) {
  const medgen_status_t status = call_plugin(what, function, arguments...);
  if (status != MEDGEN_OK) throw_status(what, status);
}

}  // namespace medgen
