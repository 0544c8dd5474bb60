/* SPDX-License-Identifier: Apache-2.0
 * The host side: other programs open medgen, ask what is installed, plan and run pipelines, and cancel them.
 * Link libmedgen. Plugins do not use this header; it shares the words and layout rules of medgen/abi/base.h.
 *
 *   - Errors: a function that can fail returns medgen_status_t and leaves its out parameters alone when it fails.
 *     medgen_error() and medgen_error_kind() then tell the calling thread what happened.
 *   - Text that comes out through `const char**` is UTF-8, NUL-terminated and lent: it is valid until the calling
 *     thread next asks for text. Text and option structs that go in are copied.
 *   - Objects belong to the caller, who ends each with its own function; ending NULL does nothing. A child made by
 *     fork must not use the objects of its parent.
 *   - Thread tags: [any] any thread at any time; [serial] one call at a time on one object, from any thread.
 *   - No function here throws, prints, installs signal handlers or ends the process. */
#ifndef MEDGEN_HOST_H
#define MEDGEN_HOST_H

#include <medgen/abi/host.h>
#include <medgen/abi/version.h>

MEDGEN_EXTERN_C_BEGIN

/* The plugins of this machine and how to compute. It never changes: any number of threads may use it at the same time.
 */
typedef struct medgen_session medgen_session_t;
/* A pipeline that was read and validated. It never changes: any number of sessions and threads may use it. */
typedef struct medgen_pipeline medgen_pipeline_t;
/* Stops a run at its next step. One token may serve several runs; it stays cancelled. */
typedef struct medgen_cancel_token medgen_cancel_token_t;

/* What kind of failure: also the exit code of the command-line tools (docs/cli.md). */
#define MEDGEN_KIND_NONE 0
#define MEDGEN_KIND_RUNTIME 1 /* the disk is full, a file cannot be written; or a defect of medgen */
#define MEDGEN_KIND_USAGE 2   /* a function here was called with bad arguments or in the wrong order */
#define MEDGEN_KIND_CONFIG 3  /* pipeline, model description, component configuration */
#define MEDGEN_KIND_DATA 4    /* volumes, labels, weight files */
#define MEDGEN_KIND_PLUGIN 5  /* a plugin is missing, failed or misbehaved */
#define MEDGEN_KIND_OUT_OF_MEMORY 6
#define MEDGEN_KIND_DEVICE 7
#define MEDGEN_KIND_CANCELLED 130

/* The version of libmedgen, "0.1.0"; static. MEDGEN_VERSION is that of the header. [any] */
MEDGEN_EXPORT const char* medgen_version(void) MEDGEN_NOEXCEPT;

/* What the calling thread's last failed call here said, one message for people, "" when none has failed yet; lent until
 * the thread's next failure. [any] */
MEDGEN_EXPORT const char* medgen_error(void) MEDGEN_NOEXCEPT;
/* Its MEDGEN_KIND_*. [any] */
MEDGEN_EXPORT int32_t medgen_error_kind(void) MEDGEN_NOEXCEPT;

/* A message of medgen or of a plugin, level MEDGEN_LOG_*; `text` is lent for the call. Called from any thread, one call
 * at a time for each run. */
typedef void (*medgen_log_fn)(void* user, int32_t level, medgen_str_t text);

typedef struct medgen_open_options {
  uint32_t struct_size;
  uint32_t threads;               /* for computing; 0 = as the pipeline says, or every core */
  const char* precision;          /* "fp32", "bf16", "auto"; NULL = as the pipeline says, or "auto" */
  const char* device;             /* "cpu", "cuda:0", "auto"; NULL = as the pipeline says, or "auto" */
  const char* const* plugin_dirs; /* searched first, before MEDGEN_PLUGIN_PATH and the installed folders */
  uint64_t plugin_dir_count;
  medgen_log_fn log; /* may be NULL */
  void* user;        /* handed to log */
} medgen_open_options_t;

/* Reads the manifests of the plugins; loads none. `options` may be NULL. [any] */
MEDGEN_EXPORT medgen_status_t medgen_open(const medgen_open_options_t* options, medgen_session_t** out) MEDGEN_NOEXCEPT;
/* No call may be using the session. Plugins stay in memory until the process ends. [serial] */
MEDGEN_EXPORT void medgen_close(medgen_session_t* session) MEDGEN_NOEXCEPT;

/* Plugins, the folders searched, and the plugins that were not taken with the reasons; the document of
 * `medgen plugins --json` (docs/cli.md). [any] */
MEDGEN_EXPORT medgen_status_t medgen_plugins_json(medgen_session_t* session, const char** json) MEDGEN_NOEXCEPT;
/* Everything a manifest or model package says about a component, method, plugin or model folder; the document of
 * `medgen describe ID --json`. NULL or "" as `id` lists all
 * components and methods. Loads no plugin. [any] */
MEDGEN_EXPORT medgen_status_t medgen_describe_json(medgen_session_t* session, const char* id,
                                                   const char** json) MEDGEN_NOEXCEPT;

/* Reads and validates a pipeline file. `overrides` are `count` settings such as "steps.ct.steps=10", applied in order;
 * may be NULL when count is 0. Errors name file:line:column. [any] */
MEDGEN_EXPORT medgen_status_t medgen_pipeline_open(const char* file, const char* const* overrides, uint64_t count,
                                                   medgen_pipeline_t** out) MEDGEN_NOEXCEPT;
/* The same from text; relative paths in it start from `folder`. [any] */
MEDGEN_EXPORT medgen_status_t medgen_pipeline_parse(const char* text, const char* folder, const char* const* overrides,
                                                    uint64_t count, medgen_pipeline_t** out) MEDGEN_NOEXCEPT;
/* Not while it runs. [serial] */
MEDGEN_EXPORT void medgen_pipeline_close(medgen_pipeline_t* pipeline) MEDGEN_NOEXCEPT;
/* The document with overrides applied and every default filled in. [any] */
MEDGEN_EXPORT medgen_status_t medgen_pipeline_resolved(const medgen_pipeline_t* pipeline,
                                                       const char** json) MEDGEN_NOEXCEPT;

/* Checks everything that can be checked without computing (plugins, models and their hashes, inputs, outputs) and says
 * what a run would do; the document of `medgen plan --json`. [any] */
MEDGEN_EXPORT medgen_status_t medgen_plan_json(medgen_session_t* session, const medgen_pipeline_t* pipeline,
                                               const char** json) MEDGEN_NOEXCEPT;

/* Where a run stands: `done` of `total` within one task of one step. Texts are lent for the call. */
typedef struct medgen_progress {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_str_t step; /* name of the pipeline's step, "ct" */
  medgen_str_t task; /* "sampling", "decoding", "training" ... */
  medgen_str_t item; /* name of the sample, or empty */
  medgen_str_t note; /* "loss 0.123", or empty */
  uint64_t done;
  uint64_t total; /* 0 = unknown */
} medgen_progress_t;

/* How a run talks back. Slots may be NULL. Called one at a time; what they are given is lent for the call. The run
 * waits, so be quick. */
typedef struct medgen_callbacks {
  uint32_t struct_size;
  uint32_t reserved0;
  void* user; /* handed to all of them */
  /* From the thread that runs. */
  void (*progress)(void* user, const medgen_progress_t* progress);
  /* Messages of this run, instead of to the session's log. From any thread. */
  medgen_log_fn log;
  /* The current estimate of what a generate step samples: (N, C, spatial...), float32, on the CPU; a latent when the
   * model has a compressor. From the thread that runs. Asking for previews costs time. */
  void (*preview)(void* user, medgen_str_t step, medgen_str_t item, const medgen_tensor_t* x0);
  /* Since 1.1. A file for how long everything took, as `medgen run --trace` writes it; NULL: none. It must be writable
   * before anything is computed, and is put in its place however the run ends. */
  const char* trace;
} medgen_callbacks_t;

/* Runs all steps and returns when they are done, on the calling thread. `callbacks` and `cancel` may be NULL. Samples
 * that an interrupted run of the same pipeline has finished are kept and not computed again. Runs that write to the
 * same folder must not overlap. MEDGEN_E_CANCELLED: stopped; finished samples and a manifest to resume from were
 * written. [any] */
MEDGEN_EXPORT medgen_status_t medgen_run(medgen_session_t* session, const medgen_pipeline_t* pipeline,
                                         const medgen_callbacks_t* callbacks,
                                         medgen_cancel_token_t* cancel) MEDGEN_NOEXCEPT;

/* [any] */
MEDGEN_EXPORT medgen_status_t medgen_cancel_token_create(medgen_cancel_token_t** out) MEDGEN_NOEXCEPT;
/* Not while a run uses it. [serial] */
MEDGEN_EXPORT void medgen_cancel_token_destroy(medgen_cancel_token_t* token) MEDGEN_NOEXCEPT;
/* Returns at once; the run ends at its next step. Safe in a signal handler. [any] */
MEDGEN_EXPORT void medgen_cancel(medgen_cancel_token_t* token) MEDGEN_NOEXCEPT;

MEDGEN_EXTERN_C_END
#endif
