/* SPDX-License-Identifier: Apache-2.0 */
__attribute__((visibility("default"))) int unrelated(void);

int unrelated(void) {
  return 1;
}
