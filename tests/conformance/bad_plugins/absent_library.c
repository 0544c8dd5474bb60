/* SPDX-License-Identifier: Apache-2.0
 * Exists while needs_absent_library is linked, and is not found when that is loaded. */
__attribute__((visibility("default"))) int absent_function(void);

int absent_function(void) {
  return 0;
}
