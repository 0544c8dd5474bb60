/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_plugin.h"

PLAIN_ENTRY(plain_base.create = NULL)
