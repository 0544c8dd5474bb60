/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_plugin.h"

MEDGEN_EXPORT int leaked_symbol(void);

int leaked_symbol(void) {
  return 1;
}

PLAIN_ENTRY((void)0)
