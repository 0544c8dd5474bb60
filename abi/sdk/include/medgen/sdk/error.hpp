// SPDX-License-Identifier: Apache-2.0
// Errors of plugin code. Authors throw; the SDK's thunks turn what was thrown into a status and hand its text to the
// host, so that no exception ever crosses the C boundary.
#pragma once

#include <medgen/abi/host.h>

#include <atomic>
#include <locale>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace medgen::sdk {

/// What a plugin throws: a status and a sentence that says what, the value seen, and what to do.
class Error : public std::runtime_error {
 public:
  /// `status` is one of MEDGEN_E_*.
  Error(medgen_status_t status, const std::string& message) : std::runtime_error(message), status_(status) {}

  medgen_status_t status() const noexcept { return status_; }

 private:
  medgen_status_t status_;
};

/// Its arguments, written one after the other: `text("gain is ", gain, ", 0 to 1 expected")`. The C locale, always.
template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  (out << ... << parts);
  return out.str();
}

/// The most frequent error: an argument, a config value or a tensor is wrong.
template <typename... Parts>
[[nodiscard]] Error invalid(const Parts&... parts) {
  return Error(MEDGEN_E_INVALID, text(parts...));
}

inline medgen_str_t to_abi(std::string_view value) noexcept {
  return {value.data(), value.size()};
}

inline std::string_view from_abi(medgen_str_t value) noexcept {
  return value.ptr == nullptr ? std::string_view() : std::string_view(value.ptr, value.len);
}

namespace detail {

/// The host that initialised this plugin, NULL before. One per shared library: hidden, so that plugins do not share it.
[[gnu::visibility("hidden")]] inline std::atomic<const medgen_host_t*> host_pointer{nullptr};

inline medgen_status_t report(medgen_status_t status, std::string_view message) noexcept {
  const medgen_host_t* host = host_pointer.load(std::memory_order_acquire);
  if (host != nullptr && MEDGEN_HAS_FN(medgen_host_t, host, set_error)) {
    host->set_error(host->host, status, to_abi(message));
  }
  return status;
}

}  // namespace detail

/// The host's services, NULL before the plugin is initialised.
inline const medgen_host_t* host() noexcept {
  return detail::host_pointer.load(std::memory_order_acquire);
}

/// Runs `body` and turns whatever it throws into a status, with the text handed to the host.
/// `Owner` may have `static medgen_status_t status_of(const std::exception&) noexcept`, which classifies the exceptions
/// of a library it uses (a device that is out of memory); other exceptions are MEDGEN_E_INTERNAL. It may also have
/// `static std::string message_of(const std::exception&)`, which gives their text without what only developers read.
template <typename Owner = void, typename Body>
medgen_status_t guard(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return MEDGEN_OK;
  } catch (const Error& error) {
    return detail::report(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return detail::report(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    medgen_status_t status = MEDGEN_E_INTERNAL;
    if constexpr (requires { Owner::status_of(error); }) status = Owner::status_of(error);
    if constexpr (requires { Owner::message_of(error); }) return detail::report(status, Owner::message_of(error));
    return detail::report(status, error.what());
  } catch (...) {
    return detail::report(MEDGEN_E_INTERNAL, "an exception of unknown type was thrown");
  }
}

/// Throws when a call to the host failed. `what` says what was asked for.
inline void require_ok(medgen_status_t status, std::string_view what) {
  if (status != MEDGEN_OK) throw Error(status, text(what, " failed with status ", status));
}

}  // namespace medgen::sdk
