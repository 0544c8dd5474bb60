/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_plugin.h"

int absent_function(void);

PLAIN_ENTRY(plain_plugin.abi_minor = (uint32_t)absent_function())
