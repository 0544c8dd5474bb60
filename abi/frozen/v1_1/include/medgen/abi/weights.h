/* SPDX-License-Identifier: Apache-2.0
 * Weights come from the host: read-only, shared between components, mapped from disk. Plugins never open weight files.
 */
#ifndef MEDGEN_ABI_WEIGHTS_H
#define MEDGEN_ABI_WEIGHTS_H

#include <medgen/abi/tensor.h>

MEDGEN_EXTERN_C_BEGIN

typedef struct medgen_weight_info {
  uint32_t struct_size;
  int32_t ndim;
  medgen_dtype_t dtype;
  uint32_t reserved0;
  medgen_str_t name;
  const int64_t* shape; /* lives as long as the provider */
} medgen_weight_info_t;

/* The tensors lent by `get` live on the CPU until the component that was created with this provider is destroyed. [any]
 */
typedef struct medgen_weights {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_hobj_t* host;
  uint64_t (*count)(medgen_hobj_t* host) MEDGEN_NOEXCEPT;
  medgen_status_t (*info)(medgen_hobj_t* host, uint64_t index, medgen_weight_info_t* out) MEDGEN_NOEXCEPT;
  medgen_status_t (*get)(medgen_hobj_t* host, medgen_str_t name, medgen_tensor_t* out) MEDGEN_NOEXCEPT;
} medgen_weights_t;

MEDGEN_EXTERN_C_END
#endif
