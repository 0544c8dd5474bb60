// SPDX-License-Identifier: Apache-2.0
// Layout of ABI 1.1, written by tools/abi-layout when it was released. Never edit or remove a line.
#include <medgen/abi/base.h>
#include <medgen/abi/component.h>
#include <medgen/abi/compressor.h>
#include <medgen/abi/conditioner.h>
#include <medgen/abi/denoiser.h>
#include <medgen/abi/host.h>
#include <medgen/abi/medgen.h>
#include <medgen/abi/plugin.h>
#include <medgen/abi/propagator.h>
#include <medgen/abi/scheduler.h>
#include <medgen/abi/tensor.h>
#include <medgen/abi/version.h>
#include <medgen/abi/weights.h>
#include <medgen/host.h>
#include <stdio.h>
#include <string.h>

#define FIELD(T, f, offset, size)                           \
  _Static_assert(offsetof(struct T, f) == (offset), #T "." #f " moved"); \
  _Static_assert(sizeof(((struct T*)0)->f) == (size), #T "." #f " has another size")
#define SIZE(T, size) _Static_assert(sizeof(struct T) == (size), #T " has another size")
#define MAY_GROW(T, size) _Static_assert(sizeof(struct T) >= (size), #T " became smaller")
#define VALUE(name, value) _Static_assert((name) == (value), #name " has another value")

SIZE(medgen_str, 16);
FIELD(medgen_str, ptr, 0, 8);
FIELD(medgen_str, len, 8, 8);

MAY_GROW(medgen_ext, 24);
FIELD(medgen_ext, struct_size, 0, 4);
FIELD(medgen_ext, reserved0, 4, 4);
FIELD(medgen_ext, id, 8, 8);
FIELD(medgen_ext, next, 16, 8);

MAY_GROW(medgen_writer, 24);
FIELD(medgen_writer, struct_size, 0, 4);
FIELD(medgen_writer, reserved0, 4, 4);
FIELD(medgen_writer, host, 8, 8);
FIELD(medgen_writer, write, 16, 8);

MAY_GROW(medgen_reader, 24);
FIELD(medgen_reader, struct_size, 0, 4);
FIELD(medgen_reader, reserved0, 4, 4);
FIELD(medgen_reader, host, 8, 8);
FIELD(medgen_reader, read, 16, 8);

SIZE(medgen_device, 8);
FIELD(medgen_device, type, 0, 4);
FIELD(medgen_device, index, 4, 4);

SIZE(medgen_dtype, 4);
FIELD(medgen_dtype, code, 0, 1);
FIELD(medgen_dtype, bits, 1, 1);
FIELD(medgen_dtype, lanes, 2, 2);

SIZE(medgen_tensor, 48);
FIELD(medgen_tensor, data, 0, 8);
FIELD(medgen_tensor, device, 8, 8);
FIELD(medgen_tensor, ndim, 16, 4);
FIELD(medgen_tensor, dtype, 20, 4);
FIELD(medgen_tensor, shape, 24, 8);
FIELD(medgen_tensor, strides, 32, 8);
FIELD(medgen_tensor, byte_offset, 40, 8);

MAY_GROW(medgen_space, 136);
FIELD(medgen_space, struct_size, 0, 4);
FIELD(medgen_space, frame, 4, 4);
FIELD(medgen_space, affine, 8, 128);

SIZE(medgen_bind, 32);
FIELD(medgen_bind, name, 0, 16);
FIELD(medgen_bind, tensor, 16, 8);
FIELD(medgen_bind, space, 24, 8);

MAY_GROW(medgen_binds, 32);
FIELD(medgen_binds, struct_size, 0, 4);
FIELD(medgen_binds, count, 4, 4);
FIELD(medgen_binds, items, 8, 8);
FIELD(medgen_binds, params_json, 16, 16);

MAY_GROW(medgen_outputs, 24);
FIELD(medgen_outputs, struct_size, 0, 4);
FIELD(medgen_outputs, reserved0, 4, 4);
FIELD(medgen_outputs, host, 8, 8);
FIELD(medgen_outputs, allocate, 16, 8);

MAY_GROW(medgen_context, 72);
FIELD(medgen_context, struct_size, 0, 4);
FIELD(medgen_context, flags, 4, 4);
FIELD(medgen_context, ext, 8, 8);
FIELD(medgen_context, host, 16, 8);
FIELD(medgen_context, device, 24, 8);
FIELD(medgen_context, stream, 32, 8);
FIELD(medgen_context, seed, 40, 8);
FIELD(medgen_context, sample, 48, 4);
FIELD(medgen_context, step, 52, 4);
FIELD(medgen_context, deadline_ns, 56, 8);
FIELD(medgen_context, call_id, 64, 8);

MAY_GROW(medgen_host, 104);
FIELD(medgen_host, struct_size, 0, 4);
FIELD(medgen_host, abi_minor, 4, 4);
FIELD(medgen_host, ext, 8, 8);
FIELD(medgen_host, host, 16, 8);
FIELD(medgen_host, get_extension, 24, 8);
FIELD(medgen_host, set_error, 32, 8);
FIELD(medgen_host, log, 40, 8);
FIELD(medgen_host, progress, 48, 8);
FIELD(medgen_host, fill_noise, 56, 8);
FIELD(medgen_host, scratch, 64, 8);
FIELD(medgen_host, parallel_for, 72, 8);
FIELD(medgen_host, thread_count, 80, 8);
FIELD(medgen_host, range_push, 88, 8);
FIELD(medgen_host, range_pop, 96, 8);

MAY_GROW(medgen_weight_info, 40);
FIELD(medgen_weight_info, struct_size, 0, 4);
FIELD(medgen_weight_info, ndim, 4, 4);
FIELD(medgen_weight_info, dtype, 8, 4);
FIELD(medgen_weight_info, reserved0, 12, 4);
FIELD(medgen_weight_info, name, 16, 16);
FIELD(medgen_weight_info, shape, 32, 8);

MAY_GROW(medgen_weights, 40);
FIELD(medgen_weights, struct_size, 0, 4);
FIELD(medgen_weights, reserved0, 4, 4);
FIELD(medgen_weights, host, 8, 8);
FIELD(medgen_weights, count, 16, 8);
FIELD(medgen_weights, info, 24, 8);
FIELD(medgen_weights, get, 32, 8);

MAY_GROW(medgen_create, 64);
FIELD(medgen_create, struct_size, 0, 4);
FIELD(medgen_create, precision, 4, 4);
FIELD(medgen_create, ext, 8, 8);
FIELD(medgen_create, host, 16, 8);
FIELD(medgen_create, weights, 24, 8);
FIELD(medgen_create, config_json, 32, 16);
FIELD(medgen_create, device, 48, 8);
FIELD(medgen_create, memory_budget, 56, 8);

MAY_GROW(medgen_component, 56);
FIELD(medgen_component, struct_size, 0, 4);
FIELD(medgen_component, flags, 4, 4);
FIELD(medgen_component, create, 8, 8);
FIELD(medgen_component, destroy, 16, 8);
FIELD(medgen_component, describe, 24, 8);
FIELD(medgen_component, estimate, 32, 8);
FIELD(medgen_component, trim, 40, 8);
FIELD(medgen_component, get_extension, 48, 8);

MAY_GROW(medgen_compressor, 32);
FIELD(medgen_compressor, struct_size, 0, 4);
FIELD(medgen_compressor, reserved0, 4, 4);
FIELD(medgen_compressor, encode, 8, 8);
FIELD(medgen_compressor, decode, 16, 8);
FIELD(medgen_compressor, prior, 24, 8);

MAY_GROW(medgen_conditioner, 24);
FIELD(medgen_conditioner, struct_size, 0, 4);
FIELD(medgen_conditioner, reserved0, 4, 4);
FIELD(medgen_conditioner, encode, 8, 8);
FIELD(medgen_conditioner, step, 16, 8);

MAY_GROW(medgen_denoiser, 24);
FIELD(medgen_denoiser, struct_size, 0, 4);
FIELD(medgen_denoiser, reserved0, 4, 4);
FIELD(medgen_denoiser, prepare, 8, 8);
FIELD(medgen_denoiser, predict, 16, 8);

MAY_GROW(medgen_component_desc, 104);
FIELD(medgen_component_desc, struct_size, 0, 4);
FIELD(medgen_component_desc, reserved0, 4, 4);
FIELD(medgen_component_desc, id, 8, 16);
FIELD(medgen_component_desc, kind, 24, 16);
FIELD(medgen_component_desc, summary, 40, 16);
FIELD(medgen_component_desc, config_schema_json, 56, 16);
FIELD(medgen_component_desc, io_json, 72, 16);
FIELD(medgen_component_desc, base, 88, 8);
FIELD(medgen_component_desc, interface, 96, 8);

MAY_GROW(medgen_plugin, 168);
FIELD(medgen_plugin, struct_size, 0, 4);
FIELD(medgen_plugin, abi_minor, 4, 4);
FIELD(medgen_plugin, ext, 8, 8);
FIELD(medgen_plugin, id, 16, 16);
FIELD(medgen_plugin, version, 32, 16);
FIELD(medgen_plugin, vendor, 48, 16);
FIELD(medgen_plugin, license, 64, 16);
FIELD(medgen_plugin, summary, 80, 16);
FIELD(medgen_plugin, runtime_json, 96, 16);
FIELD(medgen_plugin, methods_json, 112, 16);
FIELD(medgen_plugin, component_count, 128, 8);
FIELD(medgen_plugin, components, 136, 8);
FIELD(medgen_plugin, init, 144, 8);
FIELD(medgen_plugin, shutdown, 152, 8);
FIELD(medgen_plugin, get_extension, 160, 8);

MAY_GROW(medgen_query, 24);
FIELD(medgen_query, struct_size, 0, 4);
FIELD(medgen_query, abi_major, 4, 4);
FIELD(medgen_query, abi_minor, 8, 4);
FIELD(medgen_query, reserved0, 12, 4);
FIELD(medgen_query, ext, 16, 8);

MAY_GROW(medgen_window, 152);
FIELD(medgen_window, struct_size, 0, 4);
FIELD(medgen_window, flags, 4, 4);
FIELD(medgen_window, known_rule, 8, 4);
FIELD(medgen_window, ndim, 12, 4);
FIELD(medgen_window, origin, 16, 32);
FIELD(medgen_window, extent, 48, 32);
FIELD(medgen_window, order, 80, 16);
FIELD(medgen_window, noise_stream, 96, 8);
FIELD(medgen_window, known, 104, 8);
FIELD(medgen_window, known_mask, 112, 8);
FIELD(medgen_window, conditions, 120, 32);

MAY_GROW(medgen_cover_request, 40);
FIELD(medgen_cover_request, struct_size, 0, 4);
FIELD(medgen_cover_request, ndim, 4, 4);
FIELD(medgen_cover_request, channels, 8, 8);
FIELD(medgen_cover_request, shape, 16, 8);
FIELD(medgen_cover_request, inputs, 24, 8);
FIELD(medgen_cover_request, space, 32, 8);

MAY_GROW(medgen_propagator, 56);
FIELD(medgen_propagator, struct_size, 0, 4);
FIELD(medgen_propagator, reserved0, 4, 4);
FIELD(medgen_propagator, begin, 8, 8);
FIELD(medgen_propagator, next, 16, 8);
FIELD(medgen_propagator, accept, 24, 8);
FIELD(medgen_propagator, finish, 32, 8);
FIELD(medgen_propagator, end, 40, 8);
FIELD(medgen_propagator, count, 48, 8);

MAY_GROW(medgen_schedule_request, 48);
FIELD(medgen_schedule_request, struct_size, 0, 4);
FIELD(medgen_schedule_request, steps, 4, 4);
FIELD(medgen_schedule_request, start, 8, 8);
FIELD(medgen_schedule_request, shape, 16, 8);
FIELD(medgen_schedule_request, ndim, 24, 8);
FIELD(medgen_schedule_request, timesteps, 32, 8);
FIELD(medgen_schedule_request, n_timesteps, 40, 8);

MAY_GROW(medgen_level, 56);
FIELD(medgen_level, struct_size, 0, 4);
FIELD(medgen_level, reserved0, 4, 4);
FIELD(medgen_level, alpha, 8, 8);
FIELD(medgen_level, sigma, 16, 8);
FIELD(medgen_level, target_x0, 24, 8);
FIELD(medgen_level, target_eps, 32, 8);
FIELD(medgen_level, x0_x, 40, 8);
FIELD(medgen_level, x0_m, 48, 8);

MAY_GROW(medgen_update, 168);
FIELD(medgen_update, struct_size, 0, 4);
FIELD(medgen_update, flags, 4, 4);
FIELD(medgen_update, x0_x, 8, 8);
FIELD(medgen_update, x0_m, 16, 8);
FIELD(medgen_update, clamp_low, 24, 8);
FIELD(medgen_update, clamp_high, 32, 8);
FIELD(medgen_update, x, 40, 8);
FIELD(medgen_update, m, 48, 8);
FIELD(medgen_update, x0, 56, 8);
FIELD(medgen_update, noise_scale, 64, 8);
FIELD(medgen_update, log_variance_min, 72, 8);
FIELD(medgen_update, log_variance_max, 80, 8);
FIELD(medgen_update, history, 88, 64);
FIELD(medgen_update, keep_x, 152, 4);
FIELD(medgen_update, keep_m, 156, 4);
FIELD(medgen_update, keep_x0, 160, 4);
FIELD(medgen_update, completes_step, 164, 4);

MAY_GROW(medgen_scheduler, 56);
FIELD(medgen_scheduler, struct_size, 0, 4);
FIELD(medgen_scheduler, reserved0, 4, 4);
FIELD(medgen_scheduler, begin, 8, 8);
FIELD(medgen_scheduler, end, 16, 8);
FIELD(medgen_scheduler, timesteps, 24, 8);
FIELD(medgen_scheduler, update, 32, 8);
FIELD(medgen_scheduler, level, 40, 8);
FIELD(medgen_scheduler, training_time, 48, 8);

MAY_GROW(medgen_open_options, 56);
FIELD(medgen_open_options, struct_size, 0, 4);
FIELD(medgen_open_options, threads, 4, 4);
FIELD(medgen_open_options, precision, 8, 8);
FIELD(medgen_open_options, device, 16, 8);
FIELD(medgen_open_options, plugin_dirs, 24, 8);
FIELD(medgen_open_options, plugin_dir_count, 32, 8);
FIELD(medgen_open_options, log, 40, 8);
FIELD(medgen_open_options, user, 48, 8);

MAY_GROW(medgen_progress, 88);
FIELD(medgen_progress, struct_size, 0, 4);
FIELD(medgen_progress, reserved0, 4, 4);
FIELD(medgen_progress, step, 8, 16);
FIELD(medgen_progress, task, 24, 16);
FIELD(medgen_progress, item, 40, 16);
FIELD(medgen_progress, note, 56, 16);
FIELD(medgen_progress, done, 72, 8);
FIELD(medgen_progress, total, 80, 8);

MAY_GROW(medgen_callbacks, 48);
FIELD(medgen_callbacks, struct_size, 0, 4);
FIELD(medgen_callbacks, reserved0, 4, 4);
FIELD(medgen_callbacks, user, 8, 8);
FIELD(medgen_callbacks, progress, 16, 8);
FIELD(medgen_callbacks, log, 24, 8);
FIELD(medgen_callbacks, preview, 32, 8);
FIELD(medgen_callbacks, trace, 40, 8);

VALUE(MEDGEN_ABI_MAJOR, 1);
VALUE(MEDGEN_BITWISE, 256u);
VALUE(MEDGEN_CALL_CAPTURING, 2u);
VALUE(MEDGEN_CALL_DETERMINISTIC, 1u);
VALUE(MEDGEN_CALL_TRAINING, 4u);
VALUE(MEDGEN_CALL_UNCONDITIONAL, 8u);
VALUE(MEDGEN_DEVICE_CPU, 1);
VALUE(MEDGEN_DEVICE_CUDA, 2);
VALUE(MEDGEN_DEVICE_CUDA_HOST, 3);
VALUE(MEDGEN_DTYPE_BFLOAT, 4);
VALUE(MEDGEN_DTYPE_BOOL, 6);
VALUE(MEDGEN_DTYPE_FLOAT, 2);
VALUE(MEDGEN_DTYPE_INT, 0);
VALUE(MEDGEN_DTYPE_UINT, 1);
VALUE(MEDGEN_E_CANCELLED, -3);
VALUE(MEDGEN_E_DEADLINE, -5);
VALUE(MEDGEN_E_DEVICE, -8);
VALUE(MEDGEN_E_INTERNAL, -9);
VALUE(MEDGEN_E_INVALID, -1);
VALUE(MEDGEN_E_IO, -7);
VALUE(MEDGEN_E_NONDETERMINISTIC, -11);
VALUE(MEDGEN_E_NOT_FOUND, -6);
VALUE(MEDGEN_E_OUT_OF_MEMORY, -4);
VALUE(MEDGEN_E_STATE, -10);
VALUE(MEDGEN_E_UNSUPPORTED, -2);
VALUE(MEDGEN_FRAME_LPS, 2);
VALUE(MEDGEN_FRAME_NONE, 0);
VALUE(MEDGEN_FRAME_RAS, 1);
VALUE(MEDGEN_HISTORY, 8);
VALUE(MEDGEN_KIND_CANCELLED, 130);
VALUE(MEDGEN_KIND_CONFIG, 3);
VALUE(MEDGEN_KIND_DATA, 4);
VALUE(MEDGEN_KIND_DEVICE, 7);
VALUE(MEDGEN_KIND_NONE, 0);
VALUE(MEDGEN_KIND_OUT_OF_MEMORY, 6);
VALUE(MEDGEN_KIND_PLUGIN, 5);
VALUE(MEDGEN_KIND_RUNTIME, 1);
VALUE(MEDGEN_KIND_USAGE, 2);
VALUE(MEDGEN_KNOWN_CLEAN, 1u);
VALUE(MEDGEN_KNOWN_NONE, 0u);
VALUE(MEDGEN_KNOWN_RENOISE, 2u);
VALUE(MEDGEN_LOG_DEBUG, 3);
VALUE(MEDGEN_LOG_ERROR, 0);
VALUE(MEDGEN_LOG_INFO, 2);
VALUE(MEDGEN_LOG_WARN, 1);
VALUE(MEDGEN_NOISE_NORMAL, 0);
VALUE(MEDGEN_NOISE_UNIFORM, 1);
VALUE(MEDGEN_OK, 0);
VALUE(MEDGEN_PRECISION_BF16, 1);
VALUE(MEDGEN_PRECISION_FP16, 2);
VALUE(MEDGEN_PRECISION_FP32, 0);
VALUE(MEDGEN_THREADS_INSTANCE, 1u);
VALUE(MEDGEN_THREADS_REENTRANT, 2u);
VALUE(MEDGEN_UPDATE_CLAMP_X0, 1u);
VALUE(MEDGEN_UPDATE_LEARNED_RANGE, 4u);
VALUE(MEDGEN_UPDATE_NOISE, 2u);
VALUE(MEDGEN_WINDOW_INDEPENDENT, 1u);
VALUE(MEDGEN_WINDOW_START_KNOWN, 2u);

int main(void) {
  static const char* const ids[][3] = {
      {"MEDGEN_COMPRESSOR_1", MEDGEN_COMPRESSOR_1, "medgen.compressor/1"},
      {"MEDGEN_CONDITIONER_1", MEDGEN_CONDITIONER_1, "medgen.conditioner/1"},
      {"MEDGEN_DENOISER_1", MEDGEN_DENOISER_1, "medgen.denoiser/1"},
      {"MEDGEN_PROPAGATOR_1", MEDGEN_PROPAGATOR_1, "medgen.propagator/1"},
      {"MEDGEN_SCHEDULER_1", MEDGEN_SCHEDULER_1, "medgen.scheduler/1"},
  };
  int wrong = 0;
  for (size_t i = 0; i < sizeof ids / sizeof *ids; ++i) {
    if (strcmp(ids[i][1], ids[i][2]) != 0) {
      printf("%s is \"%s\", but was released as \"%s\"\n", ids[i][0], ids[i][1], ids[i][2]);
      wrong = 1;
    }
  }
  return wrong;
}
