/* SPDX-License-Identifier: Apache-2.0
 * Runs a pipeline through libmedgen, shows its progress, cancels it after a time, and says how long what took.
 * usage: host-c PIPELINE.json [SECONDS] [PLUGIN-DIR] [TRACE.json] */
#define _POSIX_C_SOURCE 200809L

#include <medgen/host.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Says what went wrong in the thread's last call; gives the exit code for it. */
static int report_failure(const char* what) {
  fprintf(stderr, "host-c: %s: %s\n", what, medgen_error());
  return medgen_error_kind();
}

static void on_log(void* user, int32_t level, medgen_str_t text) {
  (void)user;
  if (level <= MEDGEN_LOG_INFO) fprintf(stderr, "%.*s\n", (int)text.len, text.ptr);
}

static void on_progress(void* user, const medgen_progress_t* progress) {
  (void)user;
  fprintf(stderr, "%.*s: %.*s %.*s %llu/%llu\n", (int)progress->step.len, progress->step.ptr, (int)progress->task.len,
          progress->task.ptr, (int)progress->item.len, progress->item.ptr, (unsigned long long)progress->done,
          (unsigned long long)progress->total);
}

/* A clock that cancels a run when its time is over, unless it is stopped first. */
typedef struct {
  pthread_mutex_t mutex;
  pthread_cond_t stopped_changed;
  int stopped;
  struct timespec end;
  medgen_cancel_token_t* token;
} timeout_t;

static void* wait_and_cancel(void* argument) {
  timeout_t* timeout = argument;
  pthread_mutex_lock(&timeout->mutex);
  int status = 0;
  while (!timeout->stopped && status != ETIMEDOUT) {
    status = pthread_cond_timedwait(&timeout->stopped_changed, &timeout->mutex, &timeout->end);
  }
  if (!timeout->stopped) medgen_cancel(timeout->token);
  pthread_mutex_unlock(&timeout->mutex);
  return NULL;
}

static medgen_status_t run_with_timeout(medgen_session_t* session, const medgen_pipeline_t* pipeline, double seconds,
                                        const char* trace, medgen_cancel_token_t* token) {
  const medgen_callbacks_t callbacks = {
      .struct_size = sizeof callbacks, .progress = on_progress, .log = on_log, .trace = trace};
  if (seconds <= 0) return medgen_run(session, pipeline, &callbacks, token);

  timeout_t timeout = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, {0, 0}, token};
  clock_gettime(CLOCK_REALTIME, &timeout.end);
  const double end = (double)timeout.end.tv_nsec * 1e-9 + seconds;
  timeout.end.tv_sec += (time_t)end;
  timeout.end.tv_nsec = (long)((end - (double)(time_t)end) * 1e9);
  pthread_t clock;
  const int has_clock = pthread_create(&clock, NULL, wait_and_cancel, &timeout) == 0;
  const medgen_status_t status = medgen_run(session, pipeline, &callbacks, token);
  if (has_clock) {
    pthread_mutex_lock(&timeout.mutex);
    timeout.stopped = 1;
    pthread_cond_signal(&timeout.stopped_changed);
    pthread_mutex_unlock(&timeout.mutex);
    pthread_join(clock, NULL);
  }
  return status;
}

/* Plans and runs one file in an open session. */
static int run_file(medgen_session_t* session, const char* file, double seconds, const char* trace) {
  medgen_pipeline_t* pipeline = NULL;
  medgen_cancel_token_t* token = NULL;
  const char* plan = NULL;
  int code = 0;
  if (medgen_pipeline_open(file, NULL, 0, &pipeline) != MEDGEN_OK) {
    code = report_failure("the pipeline cannot be used");
  } else if (medgen_plan_json(session, pipeline, &plan) != MEDGEN_OK) {
    code = report_failure("the pipeline cannot be run");
  } else if (medgen_cancel_token_create(&token) != MEDGEN_OK) {
    code = report_failure("no cancel token");
  } else {
    printf("%s", plan);
    fflush(stdout);
    if (run_with_timeout(session, pipeline, seconds, trace, token) != MEDGEN_OK)
      code = report_failure("the run ended early");
  }
  medgen_cancel_token_destroy(token);
  medgen_pipeline_close(pipeline);
  return code;
}

int main(int argc, char** argv) {
  if (argc < 2 || argc > 5) {
    fprintf(stderr, "usage: host-c PIPELINE.json [SECONDS] [PLUGIN-DIR] [TRACE.json]\n");
    return MEDGEN_KIND_USAGE;
  }
  const char* plugin_dirs[] = {argc > 3 ? argv[3] : NULL};
  const medgen_open_options_t options = {
      .struct_size = sizeof options, .plugin_dirs = plugin_dirs, .plugin_dir_count = argc > 3 ? 1 : 0, .log = on_log};
  medgen_session_t* session = NULL;
  if (medgen_open(&options, &session) != MEDGEN_OK) return report_failure("medgen cannot be opened");
  const int code = run_file(session, argv[1], argc > 2 ? strtod(argv[2], NULL) : 0, argc > 4 ? argv[4] : NULL);
  medgen_close(session);
  return code;
}
