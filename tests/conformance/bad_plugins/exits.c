/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "plain_plugin.h"

static medgen_status_t exiting_init(const medgen_host_t* host) {
  (void)host;
  exit(0);
}

PLAIN_ENTRY(plain_plugin.init = exiting_init)
