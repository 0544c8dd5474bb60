/* SPDX-License-Identifier: Apache-2.0
 * Tensors with DLPack's layout (DLTensor of DLPack 1.x, asserted in a test), named tensors, and where a volume lies in
 * space. */
#ifndef MEDGEN_ABI_TENSOR_H
#define MEDGEN_ABI_TENSOR_H

#include <medgen/abi/base.h>

MEDGEN_EXTERN_C_BEGIN

/* DLDeviceType */
#define MEDGEN_DEVICE_CPU 1
#define MEDGEN_DEVICE_CUDA 2
#define MEDGEN_DEVICE_CUDA_HOST 3

typedef struct medgen_device {
  int32_t type;
  int32_t index;
} medgen_device_t;

/* DLDataTypeCode. bfloat16 is {MEDGEN_DTYPE_BFLOAT, 16, 1}. */
#define MEDGEN_DTYPE_INT 0
#define MEDGEN_DTYPE_UINT 1
#define MEDGEN_DTYPE_FLOAT 2
#define MEDGEN_DTYPE_BFLOAT 4
#define MEDGEN_DTYPE_BOOL 6

typedef struct medgen_dtype {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes; /* always 1 */
} medgen_dtype_t;

/* Strides count elements and are never NULL when ndim > 0. byte_offset is honoured. No alignment is promised beyond the
 * element's own. Inputs are read-only and borrowed for the call; outputs are allocated by the host (medgen_outputs_t).
 */
typedef struct medgen_tensor {
  void* data;
  medgen_device_t device;
  int32_t ndim;
  medgen_dtype_t dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
} medgen_tensor_t;

/* World frames. Millimetres always. */
#define MEDGEN_FRAME_NONE 0
#define MEDGEN_FRAME_RAS 1 /* NIfTI: x to the Right, y to the Anterior, z to the Superior */
#define MEDGEN_FRAME_LPS 2 /* DICOM, ITK */

/* Row-major 4x4 from voxel index (i,j,k) to world. Tensor axes of a volume are (..., k, j, i) = (..., z, y, x) unless
 * the component's description says otherwise; index order in `affine` is always (i, j, k). */
typedef struct medgen_space {
  uint32_t struct_size;
  int32_t frame;
  double affine[16];
} medgen_space_t;

/* A named tensor. space is NULL where the tensor is no volume. */
typedef struct medgen_bind {
  medgen_str_t name;
  const medgen_tensor_t* tensor;
  const medgen_space_t* space;
} medgen_bind_t;

typedef struct medgen_binds {
  uint32_t struct_size;
  uint32_t count;
  const medgen_bind_t* items;
  medgen_str_t params_json; /* scalars of the call, a JSON object or empty */
} medgen_binds_t;

/* Where a call puts its results: the plugin names each output and its shape, the host allocates it (on ctx->device
 * unless the component declares otherwise) and lends it for the rest of the call. Asking twice for one name with the
 * same shape returns the same memory; with another shape it is MEDGEN_E_INVALID. Contents are unspecified until
 * written. [serial] */
typedef struct medgen_outputs {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_hobj_t* host;
  medgen_status_t (*allocate)(medgen_hobj_t* host, medgen_str_t name, medgen_dtype_t dtype, int32_t ndim,
                              const int64_t* shape, const medgen_space_t* space, medgen_tensor_t* out) MEDGEN_NOEXCEPT;
} medgen_outputs_t;

MEDGEN_EXTERN_C_END
#endif
