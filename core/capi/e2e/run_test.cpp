// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <medgen/host.h>

#include <sys/wait.h>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct Folder {
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "medgen-capi-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }

  ~Folder() { fs::remove_all(path); }

  fs::path path;
};

std::string pipeline_text(int steps, int count) {
  return fmt::format(R"({{
  "medgen": 1,
  "steps": {{
    "made": {{
      "generate": {{"components": {{"denoiser": {{"component": "null.denoiser"}},
                                    "scheduler": {{"component": "null.scheduler"}},
                                    "propagator": {{"component": "null.propagator"}}}}}},
      "size": [16, 16, 16], "spacing_mm": [1, 1, 1], "steps": {}, "count": {}}},
    "saved": {{"write": "@made", "to": "out"}} }} }})",
                     steps, count);
}

/// A session and a pipeline in a folder of their own.
struct Setup {
  explicit Setup(int steps, int count) {
    static const char* const kFolders[] = {MEDGEN_BINARY_DIR "/plugins"};
    medgen_open_options_t options{};
    options.struct_size = sizeof options;
    options.threads = 1;
    options.precision = "fp32";
    options.plugin_dirs = kFolders;
    options.plugin_dir_count = 1;
    REQUIRE(medgen_open(&options, &session) == MEDGEN_OK);
    const auto status =
        medgen_pipeline_parse(pipeline_text(steps, count).c_str(), folder.path.c_str(), nullptr, 0, &pipeline);
    INFO(medgen_error());
    REQUIRE(status == MEDGEN_OK);
    REQUIRE(medgen_cancel_token_create(&token) == MEDGEN_OK);
  }

  ~Setup() {
    medgen_cancel_token_destroy(token);
    medgen_pipeline_close(pipeline);
    medgen_close(session);
  }

  bool finished() const { return fs::exists(folder.path / "out" / "run.json"); }

  Folder folder;
  medgen_session_t* session = nullptr;
  medgen_pipeline_t* pipeline = nullptr;
  medgen_cancel_token_t* token = nullptr;
};

struct Seen {
  int progress = 0;
  int previews = 0;
  bool sampled = false;
  medgen_cancel_token_t* cancel_after_three = nullptr;
};

void on_progress(void* user, const medgen_progress_t* progress) {
  auto* seen = static_cast<Seen*>(user);
  ++seen->progress;
  if (std::string_view(progress->step.ptr, progress->step.len) == "made") seen->sampled = true;
  if (seen->progress == 3) medgen_cancel(seen->cancel_after_three);
}

void on_preview(void* user, medgen_str_t step, medgen_str_t, const medgen_tensor_t* x0) {
  auto* seen = static_cast<Seen*>(user);
  ++seen->previews;
  CHECK(std::string_view(step.ptr, step.len) == "made");
  CHECK(x0->ndim == 5);
  CHECK(x0->shape[4] == 16);
}

medgen_callbacks_t callbacks(Seen& seen) {
  medgen_callbacks_t callbacks{};
  callbacks.struct_size = sizeof callbacks;
  callbacks.user = &seen;
  callbacks.progress = on_progress;
  return callbacks;
}

std::string text_of(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// How often `part` is in a trace.
int events(const std::string& trace, const std::string& part) {
  int count = 0;
  for (std::size_t at = trace.find(part); at != std::string::npos; at = trace.find(part, at + 1)) ++count;
  return count;
}

int host_c(const std::string& arguments) {
  const int status =
      std::system(("\"" MEDGEN_BINARY_DIR "/tests/medgen-host-c\" " + arguments + " > /dev/null 2>&1").c_str());
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("a host plans and runs a pipeline and is told of its progress", "[e2e][capi]") {
  Setup setup(3, 2);
  const char* plan = nullptr;
  const auto planned = medgen_plan_json(setup.session, setup.pipeline, &plan);
  INFO(medgen_error());
  REQUIRE(planned == MEDGEN_OK);
  CHECK(std::string(plan).find("\"made\"") != std::string::npos);
  CHECK_FALSE(setup.finished());
  Seen seen;
  const medgen_callbacks_t talk = callbacks(seen);
  REQUIRE(medgen_run(setup.session, setup.pipeline, &talk, setup.token) == MEDGEN_OK);
  CHECK(seen.sampled);
  CHECK(setup.finished());
}

TEST_CASE("a host that asks for previews gets the sample while it is made", "[e2e][capi]") {
  Setup setup(3, 1);
  Seen seen;
  medgen_callbacks_t talk = callbacks(seen);
  talk.preview = on_preview;
  REQUIRE(medgen_run(setup.session, setup.pipeline, &talk, nullptr) == MEDGEN_OK);
  CHECK(seen.previews > 0);
}

TEST_CASE("a run is cancelled from its own callback and from another thread", "[e2e][capi]") {
  Setup setup(100000, 4);
  Seen seen;
  seen.cancel_after_three = setup.token;
  const medgen_callbacks_t talk = callbacks(seen);
  CHECK(medgen_run(setup.session, setup.pipeline, &talk, setup.token) == MEDGEN_E_CANCELLED);
  CHECK(medgen_error_kind() == MEDGEN_KIND_CANCELLED);

  medgen_cancel_token_t* other = nullptr;
  REQUIRE(medgen_cancel_token_create(&other) == MEDGEN_OK);
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    medgen_cancel(other);
  });
  CHECK(medgen_run(setup.session, setup.pipeline, nullptr, other) == MEDGEN_E_CANCELLED);
  canceller.join();
  medgen_cancel_token_destroy(other);
}

TEST_CASE("a session is as good after a cancelled run as before", "[e2e][capi]") {
  Setup setup(3, 1);
  medgen_cancel(setup.token);
  CHECK(medgen_run(setup.session, setup.pipeline, nullptr, setup.token) == MEDGEN_E_CANCELLED);
  CHECK(medgen_run(setup.session, setup.pipeline, nullptr, nullptr) == MEDGEN_OK);
  CHECK(setup.finished());
}

TEST_CASE("a host that names a trace gets it, however the run ends", "[e2e][capi]") {
  Setup setup(3, 2);
  Seen seen;
  const std::string file = (setup.folder.path / "trace.json").string();
  medgen_callbacks_t talk = callbacks(seen);
  talk.trace = file.c_str();
  REQUIRE(medgen_run(setup.session, setup.pipeline, &talk, nullptr) == MEDGEN_OK);
  const std::string whole = text_of(file);
  CHECK(events(whole, "\"cat\": \"component\"") >= 3 * 2);  // every evaluation calls at least the denoiser
  CHECK(events(whole, "\"cat\": \"step\"") >= 2);
  CHECK(whole.ends_with("]}\n"));

  Setup stopped(100000, 1);
  seen = {};
  seen.cancel_after_three = stopped.token;
  CHECK(medgen_run(stopped.session, stopped.pipeline, &talk, stopped.token) == MEDGEN_E_CANCELLED);
  CHECK(text_of(file) != whole);
  CHECK(text_of(file).ends_with("]}\n"));
}

TEST_CASE("a trace that cannot be written stops a run before it computes", "[e2e][capi]") {
  Setup setup(3, 1);
  Seen seen;
  medgen_callbacks_t talk = callbacks(seen);
  for (const std::string& file : {(setup.folder.path / "nowhere" / "t.json").string(), setup.folder.path.string()}) {
    talk.trace = file.c_str();
    CHECK(medgen_run(setup.session, setup.pipeline, &talk, nullptr) != MEDGEN_OK);
    CHECK(medgen_error_kind() == MEDGEN_KIND_RUNTIME);
    CHECK(std::string(medgen_error()).find(file) != std::string::npos);
  }
  CHECK(seen.progress == 0);
  CHECK_FALSE(setup.finished());
}

TEST_CASE("a host of ABI 1.0, whose callbacks end before the trace, runs as before", "[e2e][capi]") {
  Setup setup(3, 1);
  Seen seen;
  medgen_callbacks_t talk = callbacks(seen);
  talk.struct_size = offsetof(medgen_callbacks_t, trace);
  talk.trace = "/nowhere/must-not-be-read.json";
  CHECK(medgen_run(setup.session, setup.pipeline, &talk, nullptr) == MEDGEN_OK);
  CHECK(setup.finished());
}

TEST_CASE("two runs of one session go on at the same time", "[e2e][capi]") {
  Setup setup(50, 2);
  Setup other(50, 2);
  std::atomic<int> succeeded = 0;
  std::vector<std::thread> threads;
  for (const medgen_pipeline_t* pipeline : {setup.pipeline, other.pipeline}) {
    threads.emplace_back([&, pipeline] {
      if (medgen_run(setup.session, pipeline, nullptr, nullptr) == MEDGEN_OK) ++succeeded;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(succeeded == 2);
  CHECK(setup.finished());
  CHECK(other.finished());
}

TEST_CASE("the C example runs a pipeline, and stops it when its time is over", "[e2e][capi]") {
  const Folder folder;
  const std::string plugins = " \"" MEDGEN_BINARY_DIR "/plugins\"";
  std::ofstream(folder.path / "short.json") << pipeline_text(3, 1);
  std::ofstream(folder.path / "long.json") << pipeline_text(100000, 100);
  CHECK(host_c((folder.path / "short.json").string() + " 60" + plugins) == 0);
  CHECK(host_c((folder.path / "long.json").string() + " 1" + plugins + " trace.json --set") == MEDGEN_KIND_USAGE);
  fs::remove_all(folder.path / "out");
  CHECK(host_c((folder.path / "long.json").string() + " 1" + plugins) == MEDGEN_KIND_CANCELLED);
  CHECK(host_c((folder.path / "missing.json").string()) == MEDGEN_KIND_CONFIG);
  const fs::path trace = folder.path / "trace.json";
  fs::remove_all(folder.path / "out");
  CHECK(host_c((folder.path / "short.json").string() + " 60" + plugins + " " + trace.string()) == 0);
  CHECK(events(text_of(trace), "\"cat\": \"component\"") > 0);
}
