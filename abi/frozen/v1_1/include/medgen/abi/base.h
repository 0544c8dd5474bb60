/* SPDX-License-Identifier: Apache-2.0
 * Words every other header uses: status codes, strings, opaque objects, call extensions, byte streams.
 *
 * Layout rules of the whole ABI, each of them a test (docs/abi.md):
 *   - only fixed-width integers, double, pointers and the structs defined here; no enum, bool, long or size_t field;
 *   - no implicit padding on LP64 little-endian;
 *   - every struct that can grow starts with `uint32_t struct_size`, written by whoever creates it as sizeof(T);
 *   - a field is present when struct_size reaches past it, and absent otherwise: no version arithmetic.
 * Thread tags: [any] any thread at any time; [serial] one call at a time on one object; [scan] must not touch a device.
 */
#ifndef MEDGEN_ABI_BASE_H
#define MEDGEN_ABI_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define MEDGEN_NOEXCEPT noexcept
#define MEDGEN_EXTERN_C_BEGIN extern "C" {
#define MEDGEN_EXTERN_C_END }
#else
#define MEDGEN_NOEXCEPT
#define MEDGEN_EXTERN_C_BEGIN
#define MEDGEN_EXTERN_C_END
#endif

#define MEDGEN_EXPORT __attribute__((visibility("default")))

/* True when *p is large enough to hold field f. Use MEDGEN_HAS_FN for a function slot that may also be NULL. */
#define MEDGEN_HAS(T, p, f) ((p)->struct_size >= offsetof(T, f) + sizeof((p)->f))
#define MEDGEN_HAS_FN(T, p, f) (MEDGEN_HAS(T, p, f) && (p)->f != NULL)

MEDGEN_EXTERN_C_BEGIN

/* 0 is success, every error is negative. A host or plugin that meets an unknown negative code treats it as INTERNAL. */
typedef int32_t medgen_status_t;
#define MEDGEN_OK 0
#define MEDGEN_E_INVALID (-1)     /* an argument, a config value or a tensor is wrong: the caller's fault */
#define MEDGEN_E_UNSUPPORTED (-2) /* known, but this object cannot do it (dtype, device, optional function) */
#define MEDGEN_E_CANCELLED (-3)   /* the host asked to stop, and the callee stopped */
#define MEDGEN_E_OUT_OF_MEMORY (-4)
#define MEDGEN_E_DEADLINE (-5)
#define MEDGEN_E_NOT_FOUND (-6) /* a tensor, weight or id that was asked for does not exist */
#define MEDGEN_E_IO (-7)
#define MEDGEN_E_DEVICE (-8)            /* the device failed or was lost */
#define MEDGEN_E_INTERNAL (-9)          /* a defect of the callee: an exception was caught, a check failed */
#define MEDGEN_E_STATE (-10)            /* called in the wrong order */
#define MEDGEN_E_NONDETERMINISTIC (-11) /* MEDGEN_CALL_DETERMINISTIC cannot be honoured */

/* UTF-8, not NUL-terminated. ptr may be NULL when len is 0. Borrowed unless the field says otherwise. */
typedef struct medgen_str {
  const char* ptr;
  uint64_t len;
} medgen_str_t;

/* Opaque objects: made and destroyed by the plugin, or by the host. Neither looks inside the other's. */
typedef struct medgen_obj medgen_obj_t;
typedef struct medgen_hobj medgen_hobj_t;

/* A chain of optional additions to a call struct, found by string id. Unknown ids are skipped. */
typedef struct medgen_ext {
  uint32_t struct_size;
  uint32_t reserved0;
  const char* id; /* NUL-terminated */
  const struct medgen_ext* next;
} medgen_ext_t;

/* Host-made sinks and sources of bytes. Return the bytes moved (0 = end of a source), negative = medgen_status_t.
 * [serial] */
typedef struct medgen_writer {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_hobj_t* host;
  int64_t (*write)(medgen_hobj_t* host, const void* bytes, uint64_t n) MEDGEN_NOEXCEPT;
} medgen_writer_t;

typedef struct medgen_reader {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_hobj_t* host;
  int64_t (*read)(medgen_hobj_t* host, void* bytes, uint64_t n) MEDGEN_NOEXCEPT;
} medgen_reader_t;

MEDGEN_EXTERN_C_END
#endif
