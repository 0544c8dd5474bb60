// SPDX-License-Identifier: Apache-2.0
// usage: host PIPELINE OUT
// The program of a stranger: lists the plugins through libmedgen, runs a pipeline into OUT, and looks at errors.
#include <medgen/host.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(int condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "%s: %s (kind %d)\n", what, medgen_error(), medgen_error_kind());
  exit(1);
}

static void count_progress(void* user, const medgen_progress_t* progress) {
  (void)progress;
  ++*(int*)user;
}

static void list_plugins(medgen_session_t* session) {
  const char* json = NULL;
  require(medgen_plugins_json(session, &json) == MEDGEN_OK, "plugins");
  require(strstr(json, "\"consumer\"") != NULL, "the consumer plugin is not listed");
  require(medgen_describe_json(session, "consumer.half", &json) == MEDGEN_OK, "describe");
  require(strstr(json, "half the volume") != NULL, "the description lacks the summary");
}

/* The trace is complete, and the plugin's calls are in it. */
static void require_trace(const char* file) {
  static char text[1 << 20];
  FILE* stream = fopen(file, "r");
  require(stream != NULL, "no trace was written");
  const size_t length = fread(text, 1, sizeof text - 1, stream);
  fclose(stream);
  require(length > 3 && strcmp(text + length - 3, "]}\n") == 0, "the trace does not end");
  require(strstr(text, "consumer.half") != NULL, "the trace lacks the plugin's calls");
}

static void run_pipeline(medgen_session_t* session, const char* file, const char* out) {
  char to[4096];
  snprintf(to, sizeof to, "steps.save.to=%s", out);
  const char* const overrides[] = {to};
  medgen_pipeline_t* pipeline = NULL;
  require(medgen_pipeline_open(file, overrides, 1, &pipeline) == MEDGEN_OK, "pipeline");
  const char* json = NULL;
  require(medgen_plan_json(session, pipeline, &json) == MEDGEN_OK, "plan");

  int progress_calls = 0;
  char trace[4096];
  snprintf(trace, sizeof trace, "%s-trace.json", out);
  medgen_callbacks_t callbacks = {
      .struct_size = sizeof callbacks, .user = &progress_calls, .progress = count_progress, .trace = trace};
  require(medgen_run(session, pipeline, &callbacks, NULL) == MEDGEN_OK, "run");
  require(progress_calls > 0, "a run says nothing of its progress");
  require_trace(trace);
  medgen_pipeline_close(pipeline);
}

static void meet_errors(void) {
  medgen_pipeline_t* pipeline = NULL;
  require(medgen_pipeline_parse("{\"medgen\": 1, \"steps\": {}", ".", NULL, 0, &pipeline) < 0, "broken JSON is taken");
  require(pipeline == NULL && medgen_error()[0] != '\0', "an error has no text");
  require(medgen_error_kind() == MEDGEN_KIND_CONFIG, "broken JSON is another kind of error");
  printf("as it should: %s\n", medgen_error());
}

int main(int argc, char** argv) {
  require(argc == 3, "usage: host PIPELINE OUT");
  require(strcmp(medgen_version(), MEDGEN_VERSION) == 0, "library and header differ");
  medgen_open_options_t options = {.struct_size = sizeof options, .threads = 1};
  medgen_session_t* session = NULL;
  require(medgen_open(&options, &session) == MEDGEN_OK, "open");
  list_plugins(session);
  run_pipeline(session, argv[1], argv[2]);
  meet_errors();
  medgen_close(session);
  return 0;
}
