/* SPDX-License-Identifier: Apache-2.0
 * DRAFT medgen.state/1, a component extension: state that an interrupted run needs to go on (a propagator's cover). */
#ifndef MEDGEN_ABI_DRAFT_STATE_H
#define MEDGEN_ABI_DRAFT_STATE_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

#define MEDGEN_STATE_1 "medgen.state/1"

typedef struct medgen_state {
  uint32_t struct_size;
  uint32_t reserved0;
  /* `state` is the object whose state is meant: a component, a run or a cover. */
  medgen_status_t (*save)(medgen_obj_t* self, medgen_obj_t* state, const medgen_writer_t* bytes) MEDGEN_NOEXCEPT;
  medgen_status_t (*load)(medgen_obj_t* self, medgen_obj_t* state, const medgen_reader_t* bytes) MEDGEN_NOEXCEPT;
} medgen_state_t;

MEDGEN_EXTERN_C_END
#endif
