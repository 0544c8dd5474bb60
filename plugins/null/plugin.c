/* SPDX-License-Identifier: Apache-2.0
 * A plugin is a shared library with one exported function, which returns constant data: who it is and which components
 * it has. Nothing else happens when the library is loaded. */
#include "plugins/null/null.h"

static const medgen_component_desc_t* const components[] = {
    &null_scheduler_desc, &null_denoiser_desc, &null_conditioner_desc, &null_compressor_desc, &null_propagator_desc,
};

/* The host's table of services is all that a plugin keeps between calls. */
static medgen_status_t init(const medgen_host_t* host) {
  null_set_host(host);
  return MEDGEN_OK;
}

static void shutdown(void) {
  null_set_host(NULL);
}

static const medgen_plugin_t plugin = {
    .struct_size = sizeof(medgen_plugin_t),
    .abi_minor = MEDGEN_ABI_MINOR,
    .id = NULL_STR("null"),
    .version = NULL_STR(MEDGEN_VERSION),
    .vendor = NULL_STR("medgen"),
    .license = NULL_STR("Apache-2.0"),
    .summary = NULL_STR("The smallest plugin: doubles for tests, and the tutorial in C."),
    .runtime_json = NULL_STR("{}"),
    .methods_json = NULL_STR("{}"),
    .component_count = sizeof components / sizeof components[0],
    .components = components,
    .init = init,
    .shutdown = shutdown,
};

/* A host that speaks another major version of the ABI gets NULL, and says so to its user. */
MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) {
  return query != NULL && query->abi_major == MEDGEN_ABI_MAJOR ? &plugin : NULL;
}
