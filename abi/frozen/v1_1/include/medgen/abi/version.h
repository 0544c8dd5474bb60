/* SPDX-License-Identifier: Apache-2.0
 * Versions. The ABI has its own number, apart from the product's: it grows by appending within a major (docs/abi.md).
 */
#ifndef MEDGEN_ABI_VERSION_H
#define MEDGEN_ABI_VERSION_H

#define MEDGEN_VERSION "0.1.0"

#define MEDGEN_ABI_MAJOR 1
#define MEDGEN_ABI_MINOR 1

#endif
