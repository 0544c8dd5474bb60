/* SPDX-License-Identifier: Apache-2.0
 * Predicting what a call takes. These components take next to nothing, so the config says what they claim. */
#include "plugins/null/null.h"

#include <stdio.h>

void null_read_cost(medgen_str_t config, uint64_t budget, null_cost* cost) {
  cost->peak_bytes = null_config_number(config, "peak_bytes", 0);
  cost->weights_bytes = null_config_number(config, "weights_bytes", 0);
  cost->scratch_bytes = null_config_number(config, "scratch_bytes", 0);
  cost->flops = null_config_number(config, "flops", 0);
  null_config_string(config, "estimate", "", cost->reply, sizeof cost->reply);
  /* As components do that can work in pieces: with a budget they take half, and put the rest into files. */
  if (budget == 0 || (double)budget >= cost->peak_bytes) return;
  cost->scratch_bytes += cost->peak_bytes / 2;
  cost->peak_bytes /= 2;
}

medgen_status_t null_estimate(const null_fault* fault, const null_cost* cost, const medgen_writer_t* json) {
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  const medgen_status_t status = null_enter(NULL, fault, "estimate", &mode, &done);
  if (done) return status;
  if (cost->reply[0] != '\0') return null_write(json, cost->reply);
  char text[256];
  snprintf(text, sizeof text,
           "{\"peak_bytes\": %.0f, \"weights_bytes\": %.0f, \"scratch_bytes\": %.0f, \"flops\": %.0f,"
           " \"flops_per_second\": 1e9}",
           cost->peak_bytes, cost->weights_bytes, cost->scratch_bytes, cost->flops);
  return null_write(json, text);
}
