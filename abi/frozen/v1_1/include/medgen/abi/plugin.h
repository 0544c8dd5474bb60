/* SPDX-License-Identifier: Apache-2.0
 * The one symbol a plugin exports, and what it returns. */
#ifndef MEDGEN_ABI_PLUGIN_H
#define MEDGEN_ABI_PLUGIN_H

#include <medgen/abi/component.h>
#include <medgen/abi/version.h>

MEDGEN_EXTERN_C_BEGIN

/* Static data of the plugin; lives for the process (plugins are never unloaded). */
typedef struct medgen_component_desc {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_str_t id;      /* "<plugin id>.<name>" or "<family>.<name>", unique: "maisi.unet", "scheduler.ddim" */
  medgen_str_t kind;    /* MEDGEN_SCHEDULER_1 ... */
  medgen_str_t summary; /* one sentence */
  medgen_str_t config_schema_json; /* the subset of JSON Schema 2020-12 that docs/plugin-guide.md lists */
  medgen_str_t io_json;            /* {"functions": {"predict": {"in": {...}, "out": {...}}}}: names, shapes, dtypes */
  const medgen_component_t* base;
  const void* interface; /* medgen_scheduler_t ... as `kind` says */
} medgen_component_desc_t;

typedef struct medgen_plugin {
  uint32_t struct_size;
  uint32_t abi_minor; /* MEDGEN_ABI_MINOR it was built with; informs, never decides */
  const medgen_ext_t* ext;
  medgen_str_t id;
  medgen_str_t version; /* semantic version */
  medgen_str_t vendor;
  medgen_str_t license; /* SPDX expression of the code */
  medgen_str_t summary;
  medgen_str_t runtime_json; /* shared runtimes it needs: {"libtorch": "2.15.0"} or {} */
  medgen_str_t methods_json; /* {"<method id>": {...}}: assemblies of components (docs/pipeline.md), or {} */
  uint64_t component_count;
  const medgen_component_desc_t* const* components;
  /* Reference counted by the host side: may be called again after shutdown. Quick; no device work. */
  medgen_status_t (*init)(const medgen_host_t* host) MEDGEN_NOEXCEPT;
  void (*shutdown)(void) MEDGEN_NOEXCEPT;
  /* Optional. Plugin-wide extension tables by id. [any] */
  const void* (*get_extension)(const char* id)MEDGEN_NOEXCEPT;
} medgen_plugin_t;

typedef struct medgen_query {
  uint32_t struct_size;
  uint32_t abi_major;
  uint32_t abi_minor;
  uint32_t reserved0;
  const medgen_ext_t* ext;
} medgen_query_t;

/* NULL when the major is not 1. No side effects, no allocation, no device call. [any] */
MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) MEDGEN_NOEXCEPT;

MEDGEN_EXTERN_C_END
#endif
