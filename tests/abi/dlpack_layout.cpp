// SPDX-License-Identifier: Apache-2.0
// medgen_tensor_t is DLTensor under another name: compiling this file is the test.
#include <ATen/dlpack.h>
#include <medgen/abi/tensor.h>

#define SAME_FIELD(ours, our_field, theirs, their_field)                      \
  static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field) && \
                    sizeof(ours::our_field) == sizeof(theirs::their_field),   \
                #ours "." #our_field " differs from " #theirs "." #their_field)

static_assert(sizeof(medgen_tensor_t) == sizeof(DLTensor) && alignof(medgen_tensor_t) == alignof(DLTensor));
SAME_FIELD(medgen_tensor_t, data, DLTensor, data);
SAME_FIELD(medgen_tensor_t, device, DLTensor, device);
SAME_FIELD(medgen_tensor_t, ndim, DLTensor, ndim);
SAME_FIELD(medgen_tensor_t, dtype, DLTensor, dtype);
SAME_FIELD(medgen_tensor_t, shape, DLTensor, shape);
SAME_FIELD(medgen_tensor_t, strides, DLTensor, strides);
SAME_FIELD(medgen_tensor_t, byte_offset, DLTensor, byte_offset);
SAME_FIELD(medgen_device_t, type, DLDevice, device_type);
SAME_FIELD(medgen_device_t, index, DLDevice, device_id);
SAME_FIELD(medgen_dtype_t, code, DLDataType, code);
SAME_FIELD(medgen_dtype_t, bits, DLDataType, bits);
SAME_FIELD(medgen_dtype_t, lanes, DLDataType, lanes);

static_assert(MEDGEN_DEVICE_CPU == kDLCPU && MEDGEN_DEVICE_CUDA == kDLCUDA && MEDGEN_DEVICE_CUDA_HOST == kDLCUDAHost);
static_assert(MEDGEN_DTYPE_INT == kDLInt && MEDGEN_DTYPE_UINT == kDLUInt && MEDGEN_DTYPE_FLOAT == kDLFloat &&
              MEDGEN_DTYPE_BFLOAT == kDLBfloat && MEDGEN_DTYPE_BOOL == kDLBool);
