/* SPDX-License-Identifier: Apache-2.0
 * A correct plugin with one conditioner that computes nothing; each file beside this one breaks one thing of it. */
#ifndef MEDGEN_TESTS_PLAIN_PLUGIN_H
#define MEDGEN_TESTS_PLAIN_PLUGIN_H

#include <medgen/abi/medgen.h>

#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }

static int plain_object;

static medgen_status_t plain_create(const medgen_create_t* create, medgen_obj_t** out) {
  (void)create;
  *out = (medgen_obj_t*)&plain_object;
  return MEDGEN_OK;
}

static void plain_destroy(medgen_obj_t* self) {
  (void)self;
}

static medgen_status_t plain_encode(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                                    const medgen_outputs_t* out) {
  (void)ctx;
  (void)self;
  (void)in;
  (void)out;
  return MEDGEN_OK;
}

static medgen_status_t plain_init(const medgen_host_t* host) {
  (void)host;
  return MEDGEN_OK;
}

static void plain_shutdown(void) {}

static medgen_component_t plain_base = {
    .struct_size = sizeof(medgen_component_t), .create = plain_create, .destroy = plain_destroy};
static medgen_conditioner_t plain_table = {.struct_size = sizeof(medgen_conditioner_t), .encode = plain_encode};

static medgen_component_desc_t plain_description = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = TEXT("plain.nothing"),
    .kind = TEXT(MEDGEN_CONDITIONER_1),
    .summary = TEXT("Computes nothing."),
    .config_schema_json = TEXT("{\"type\":\"object\",\"additionalProperties\":false}"),
    .io_json = TEXT("{}"),
    .base = &plain_base,
    .interface = &plain_table};

static const medgen_component_desc_t* plain_components[] = {&plain_description};

static medgen_plugin_t plain_plugin = {.struct_size = sizeof(medgen_plugin_t),
                                       .abi_minor = MEDGEN_ABI_MINOR,
                                       .id = TEXT("plain"),
                                       .version = TEXT("1.0.0"),
                                       .vendor = TEXT("medgen tests"),
                                       .license = TEXT("Apache-2.0"),
                                       .summary = TEXT("A plugin for tests."),
                                       .runtime_json = TEXT("{}"),
                                       .methods_json = TEXT("{}"),
                                       .component_count = 1,
                                       .components = plain_components,
                                       .init = plain_init,
                                       .shutdown = plain_shutdown};

#define PLAIN_ENTRY(change)                                                            \
  MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) { \
    if (query->abi_major != MEDGEN_ABI_MAJOR) return NULL;                             \
    change;                                                                            \
    return &plain_plugin;                                                              \
  }

#endif
