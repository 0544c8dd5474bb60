// SPDX-License-Identifier: Apache-2.0
#pragma once

// Compiles a function for several instruction sets, of which the loader takes the best. Multiply and add are never
// fused (-ffp-contract=off), so all give the same bits. Sanitizers do not run yet when the loader chooses.
#ifdef __SANITIZE_ADDRESS__
#define MEDGEN_CLONES __attribute__((flatten))
#else
#define MEDGEN_CLONES __attribute__((flatten, target_clones("arch=x86-64-v4", "avx2", "default")))
#endif
