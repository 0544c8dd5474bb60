// SPDX-License-Identifier: Apache-2.0
#include "core/capi/boundary.h"

#include "core/inspect/failure.h"

#include <medgen/host.h>

namespace medgen::capi {
namespace {

static_assert(MEDGEN_KIND_RUNTIME == static_cast<int>(ErrorKind::Runtime));
static_assert(MEDGEN_KIND_USAGE == static_cast<int>(ErrorKind::Usage));
static_assert(MEDGEN_KIND_CONFIG == static_cast<int>(ErrorKind::Config));
static_assert(MEDGEN_KIND_DATA == static_cast<int>(ErrorKind::Data));
static_assert(MEDGEN_KIND_PLUGIN == static_cast<int>(ErrorKind::Plugin));
static_assert(MEDGEN_KIND_OUT_OF_MEMORY == static_cast<int>(ErrorKind::OutOfMemory));
static_assert(MEDGEN_KIND_DEVICE == static_cast<int>(ErrorKind::Device));
static_assert(MEDGEN_KIND_CANCELLED == static_cast<int>(ErrorKind::Cancelled));

thread_local Failure t_failure{static_cast<ErrorKind>(MEDGEN_KIND_NONE), ""};
thread_local bool t_message_lost = false;
thread_local std::string t_text;

medgen_status_t status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Usage:
    case ErrorKind::Config:
    case ErrorKind::Data:
      return MEDGEN_E_INVALID;
    case ErrorKind::OutOfMemory:
      return MEDGEN_E_OUT_OF_MEMORY;
    case ErrorKind::Device:
      return MEDGEN_E_DEVICE;
    case ErrorKind::Cancelled:
      return MEDGEN_E_CANCELLED;
    case ErrorKind::Runtime:
    case ErrorKind::Plugin:
      return MEDGEN_E_INTERNAL;
  }
  return MEDGEN_E_INTERNAL;
}

}  // namespace

medgen_status_t remember_failure() noexcept {
  try {
    t_failure = current_failure();
    t_message_lost = false;
  } catch (...) {  // not even the message could be allocated
    t_failure.kind = ErrorKind::OutOfMemory;
    t_message_lost = true;
  }
  return status_of(t_failure.kind);
}

const char* last_message() noexcept {
  return t_message_lost ? "not enough memory" : t_failure.message.c_str();
}

int last_kind() noexcept {
  return static_cast<int>(t_failure.kind);
}

const char* lend(std::string text) {
  t_text = std::move(text);
  return t_text.c_str();
}

}  // namespace medgen::capi
