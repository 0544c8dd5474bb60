/* SPDX-License-Identifier: Apache-2.0
 * Misbehaving on purpose. */
#define _POSIX_C_SOURCE 200809L
#include "plugins/null/null.h"

#include <string.h>
#include <time.h>

static const char* const mode_names[] = {"ok", "fail", "garbage-shape", "nan", "slow", "bad-status", "no-output"};

void null_read_fault(medgen_str_t config, null_fault* fault) {
  char mode[32];
  null_config_string(config, "fail", "", fault->function, sizeof fault->function);
  null_config_string(config, "mode", "ok", mode, sizeof mode);
  fault->slow_ms = null_config_number(config, "slow_ms", 10000);
  fault->mode = NULL_MODE_OK;
  for (size_t i = 0; i < sizeof mode_names / sizeof mode_names[0]; ++i) {
    if (strcmp(mode, mode_names[i]) == 0) fault->mode = (null_mode)i;
  }
}

null_mode null_mode_in(const null_fault* fault, const char* function) {
  return strcmp(fault->function, function) == 0 ? fault->mode : NULL_MODE_OK;
}

/* Long work asks the host every now and then whether to go on. */
static medgen_status_t wait_ms(const medgen_context_t* context, double milliseconds) {
  const uint64_t pieces = (uint64_t)(milliseconds / 10.0);
  for (uint64_t i = 0; i < pieces; ++i) {
    if (null_progress(context, i, pieces) == 0) return null_error(MEDGEN_E_CANCELLED, "cancelled while waiting");
    const struct timespec piece = {0, 10 * 1000 * 1000};
    nanosleep(&piece, NULL);
  }
  return MEDGEN_OK;
}

medgen_status_t null_enter(const medgen_context_t* context, const null_fault* fault, const char* function,
                           null_mode* mode, int* done) {
  *mode = null_mode_in(fault, function);
  *done = 1;
  switch (*mode) {
    case NULL_MODE_FAIL:
      return null_error(MEDGEN_E_INTERNAL, "%s fails, as the config asks", function);
    case NULL_MODE_BAD_STATUS:
      return -12345;
    case NULL_MODE_NO_OUTPUT:
      return MEDGEN_OK;
    case NULL_MODE_SLOW: {
      *mode = NULL_MODE_OK;
      const medgen_status_t status = wait_ms(context, fault->slow_ms);
      *done = status != MEDGEN_OK;
      return status;
    }
    default:
      *done = 0;
      return MEDGEN_OK;
  }
}
