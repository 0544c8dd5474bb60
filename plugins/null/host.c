/* SPDX-License-Identifier: Apache-2.0
 * Talking to the host. Optional services are tested with MEDGEN_HAS_FN: an older host has a shorter table. */
#include "plugins/null/null.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const medgen_host_t* host_services;

void null_set_host(const medgen_host_t* host) {
  host_services = host;
}

static medgen_str_t str_of(const char* text) {
  return (medgen_str_t){text, strlen(text)};
}

medgen_status_t null_error(medgen_status_t status, const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (host_services != NULL && MEDGEN_HAS_FN(medgen_host_t, host_services, set_error)) {
    host_services->set_error(host_services->host, status, str_of(text));
  }
  return status;
}

const medgen_tensor_t* null_find(const medgen_binds_t* binds, const char* name) {
  for (uint32_t i = 0; i < binds->count; ++i) {
    const medgen_bind_t* bind = &binds->items[i];
    if (bind->name.len == strlen(name) && memcmp(bind->name.ptr, name, bind->name.len) == 0) return bind->tensor;
  }
  null_error(MEDGEN_E_NOT_FOUND, "input '%s' is missing", name);
  return NULL;
}

medgen_status_t null_allocate(const medgen_outputs_t* outputs, const char* name, medgen_dtype_t dtype, int32_t ndim,
                              const int64_t* shape, medgen_tensor_t* out) {
  return outputs->allocate(outputs->host, str_of(name), dtype, ndim, shape, NULL, out);
}

int64_t null_count(const medgen_tensor_t* tensor) {
  int64_t count = 1;
  for (int32_t axis = 0; axis < tensor->ndim; ++axis) count *= tensor->shape[axis];
  return count;
}

int null_is_contiguous(const medgen_tensor_t* tensor) {
  int64_t expected = 1;
  for (int32_t axis = tensor->ndim; axis-- > 0;) {
    if (tensor->shape[axis] != 1 && tensor->strides[axis] != expected) return 0;
    expected *= tensor->shape[axis];
  }
  return 1;
}

void* null_data(const medgen_tensor_t* tensor) {
  return (char*)tensor->data + tensor->byte_offset;
}

medgen_status_t null_check_float(const medgen_tensor_t* tensor, const char* name) {
  if (tensor->device.type == MEDGEN_DEVICE_CUDA) return null_error(MEDGEN_E_UNSUPPORTED, "%s is not on the CPU", name);
  if (tensor->dtype.code != MEDGEN_DTYPE_FLOAT || tensor->dtype.bits != 32) {
    return null_error(MEDGEN_E_UNSUPPORTED, "%s is not float32", name);
  }
  if (!null_is_contiguous(tensor)) return null_error(MEDGEN_E_UNSUPPORTED, "%s is not contiguous", name);
  return MEDGEN_OK;
}

medgen_status_t null_fill_noise(const medgen_context_t* context, const char* purpose, medgen_tensor_t* tensor) {
  if (host_services == NULL || !MEDGEN_HAS_FN(medgen_host_t, host_services, fill_noise)) {
    return null_error(MEDGEN_E_UNSUPPORTED, "this host makes no noise");
  }
  return host_services->fill_noise(context, MEDGEN_NOISE_NORMAL, str_of(purpose), tensor);
}

void null_copy_out(void* out, const void* value, uint32_t size) {
  uint32_t theirs = 0;
  memcpy(&theirs, out, sizeof theirs);
  const uint32_t common = theirs < size ? theirs : size;
  if (common > sizeof theirs)
    memcpy((char*)out + sizeof theirs, (const char*)value + sizeof theirs, common - sizeof theirs);
}

/* A writer may take fewer bytes than it is offered; 0 would mean that it never takes more. */
medgen_status_t null_write(const medgen_writer_t* writer, const char* text) {
  uint64_t left = strlen(text);
  while (left > 0) {
    const int64_t moved = writer->write(writer->host, text, left);
    if (moved <= 0) return moved < 0 ? (medgen_status_t)moved : MEDGEN_E_IO;
    text += moved;
    left -= (uint64_t)moved;
  }
  return MEDGEN_OK;
}

int null_progress(const medgen_context_t* context, uint64_t done, uint64_t total) {
  if (context == NULL || host_services == NULL || !MEDGEN_HAS_FN(medgen_host_t, host_services, progress)) return 1;
  return host_services->progress(context, str_of("waiting"), done, total);
}
