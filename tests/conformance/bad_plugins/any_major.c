/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_plugin.h"

MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) {
  (void)query;
  return &plain_plugin;
}
