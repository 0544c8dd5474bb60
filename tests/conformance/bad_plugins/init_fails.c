/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_plugin.h"

static medgen_status_t failing_init(const medgen_host_t* host) {
  const medgen_str_t text = TEXT("the licence server is asleep");
  host->set_error(host->host, MEDGEN_E_STATE, text);
  return MEDGEN_E_STATE;
}

PLAIN_ENTRY(plain_plugin.init = failing_init)
