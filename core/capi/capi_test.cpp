// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include <medgen/host.h>

#include <cstring>
#include <string>
#include <thread>

namespace {

std::string error() {
  return medgen_error();
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Session {
  Session() { REQUIRE(medgen_open(nullptr, &handle) == MEDGEN_OK); }

  ~Session() { medgen_close(handle); }

  medgen_session_t* handle = nullptr;
};

constexpr const char* kPipeline =
    R"({"medgen": 1, "seed": 5, "steps": {"a": {"generate": "no-such-model", "size": [8, 8, 8], "spacing_mm": [1, 1, 1]}}})";

}  // namespace

TEST_CASE("the library has the version of its header", "[unit][capi]") {
  CHECK(std::strcmp(medgen_version(), MEDGEN_VERSION) == 0);
}

TEST_CASE("ending nothing does nothing", "[unit][capi]") {
  medgen_close(nullptr);
  medgen_pipeline_close(nullptr);
  medgen_cancel_token_destroy(nullptr);
  medgen_cancel(nullptr);
}

TEST_CASE("missing arguments are an error with a message, not a crash", "[unit][capi]") {
  const Session session;
  const char* text = nullptr;
  medgen_pipeline_t* pipeline = nullptr;
  CHECK(medgen_open(nullptr, nullptr) == MEDGEN_E_INVALID);
  CHECK(medgen_error_kind() == MEDGEN_KIND_USAGE);
  CHECK(error() == "out is NULL");
  CHECK(medgen_plugins_json(nullptr, &text) == MEDGEN_E_INVALID);
  CHECK(medgen_plugins_json(session.handle, nullptr) == MEDGEN_E_INVALID);
  CHECK(medgen_describe_json(nullptr, "x", &text) == MEDGEN_E_INVALID);
  CHECK(medgen_pipeline_open(nullptr, nullptr, 0, &pipeline) == MEDGEN_E_INVALID);
  CHECK(medgen_pipeline_open("x.json", nullptr, 1, &pipeline) == MEDGEN_E_INVALID);
  CHECK(error() == "overrides is NULL");
  const char* overrides[] = {nullptr};
  CHECK(medgen_pipeline_open("x.json", overrides, 1, &pipeline) == MEDGEN_E_INVALID);
  CHECK(error() == "overrides[0] is NULL");
  CHECK(medgen_pipeline_parse(nullptr, ".", nullptr, 0, &pipeline) == MEDGEN_E_INVALID);
  CHECK(medgen_pipeline_parse("{}", nullptr, nullptr, 0, &pipeline) == MEDGEN_E_INVALID);
  CHECK(medgen_pipeline_resolved(nullptr, &text) == MEDGEN_E_INVALID);
  CHECK(medgen_plan_json(session.handle, nullptr, &text) == MEDGEN_E_INVALID);
  CHECK(medgen_run(session.handle, nullptr, nullptr, nullptr) == MEDGEN_E_INVALID);
  CHECK(medgen_cancel_token_create(nullptr) == MEDGEN_E_INVALID);
  CHECK(text == nullptr);
  CHECK(pipeline == nullptr);
}

TEST_CASE("options of another size are read as far as they reach", "[unit][capi]") {
  medgen_session_t* session = nullptr;
  medgen_open_options_t options{};
  CHECK(medgen_open(&options, &session) == MEDGEN_E_INVALID);
  CHECK(mentions(error(), "struct_size"));

  options.struct_size = 8;  // a caller that knows struct_size and threads only
  options.precision = "must not be read";
  CHECK(medgen_open(&options, &session) == MEDGEN_OK);
  medgen_close(session);

  struct {
    medgen_open_options_t known;
    char later[64];
  } newer{};

  newer.known.struct_size = sizeof newer;
  CHECK(medgen_open(&newer.known, &session) == MEDGEN_OK);
  medgen_close(session);
}

TEST_CASE("options that mean nothing are refused with the value seen", "[unit][capi]") {
  medgen_session_t* session = nullptr;
  medgen_open_options_t options{};
  options.struct_size = sizeof options;
  options.precision = "fp7";
  CHECK(medgen_open(&options, &session) == MEDGEN_E_INVALID);
  CHECK(mentions(error(), "fp7"));
  options.precision = "bf16";
  for (const char* device : {"gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999"}) {
    options.device = device;
    CHECK(medgen_open(&options, &session) == MEDGEN_E_INVALID);
    CHECK(mentions(error(), device));
  }
  options.device = "cuda:1";
  options.threads = 1u << 31;
  CHECK(medgen_open(&options, &session) == MEDGEN_E_INVALID);
  options.threads = 2;
  options.plugin_dir_count = 1;
  CHECK(medgen_open(&options, &session) == MEDGEN_E_INVALID);
  CHECK(session == nullptr);
}

TEST_CASE("a session lists plugins and components as JSON", "[unit][capi]") {
  const Session session;
  const char* json = nullptr;
  REQUIRE(medgen_plugins_json(session.handle, &json) == MEDGEN_OK);
  CHECK(mentions(json, "\"searched\""));
  REQUIRE(medgen_describe_json(session.handle, nullptr, &json) == MEDGEN_OK);
  CHECK(mentions(json, "\"components\""));
  CHECK(medgen_describe_json(session.handle, "no.such", &json) == MEDGEN_E_INVALID);
  CHECK(medgen_error_kind() == MEDGEN_KIND_CONFIG);
  CHECK(mentions(error(), "no.such"));
}

TEST_CASE("a pipeline is read, overridden and resolved", "[unit][capi]") {
  medgen_pipeline_t* pipeline = nullptr;
  const char* overrides[] = {"seed=6", "steps.a.count=3"};
  REQUIRE(medgen_pipeline_parse(kPipeline, ".", overrides, 2, &pipeline) == MEDGEN_OK);
  const char* json = nullptr;
  REQUIRE(medgen_pipeline_resolved(pipeline, &json) == MEDGEN_OK);
  CHECK(mentions(json, "\"seed\": 6"));
  CHECK(mentions(json, "\"count\": 3"));
  CHECK(mentions(json, "\"batch\": 1"));
  medgen_pipeline_close(pipeline);
}

TEST_CASE("a pipeline that is wrong is refused with its place", "[unit][capi]") {
  medgen_pipeline_t* pipeline = nullptr;
  CHECK(medgen_pipeline_parse("{\"medgen\": 1,\n \"stesp\": {}}", ".", nullptr, 0, &pipeline) == MEDGEN_E_INVALID);
  CHECK(medgen_error_kind() == MEDGEN_KIND_CONFIG);
  CHECK(mentions(error(), ":2:"));
  CHECK(medgen_pipeline_open("no-such-file.json", nullptr, 0, &pipeline) == MEDGEN_E_INVALID);
  CHECK(mentions(error(), "no-such-file.json"));
  const char* overrides[] = {"no equals sign"};
  CHECK(medgen_pipeline_parse(kPipeline, ".", overrides, 1, &pipeline) == MEDGEN_E_INVALID);
  CHECK(pipeline == nullptr);
}

TEST_CASE("planning and running a pipeline whose model is missing fail alike", "[unit][capi]") {
  const Session session;
  medgen_pipeline_t* pipeline = nullptr;
  REQUIRE(medgen_pipeline_parse(kPipeline, ".", nullptr, 0, &pipeline) == MEDGEN_OK);
  const char* json = nullptr;
  CHECK(medgen_plan_json(session.handle, pipeline, &json) != MEDGEN_OK);
  CHECK(mentions(error(), "no-such-model"));
  CHECK(medgen_run(session.handle, pipeline, nullptr, nullptr) != MEDGEN_OK);
  CHECK(mentions(error(), "no-such-model"));
  medgen_callbacks_t callbacks{};
  CHECK(medgen_run(session.handle, pipeline, &callbacks, nullptr) == MEDGEN_E_INVALID);
  CHECK(mentions(error(), "struct_size"));
  medgen_pipeline_close(pipeline);
}

TEST_CASE("errors and lent text belong to the thread", "[unit][capi]") {
  const Session session;
  CHECK(medgen_open(nullptr, nullptr) == MEDGEN_E_INVALID);
  const char* mine = nullptr;
  REQUIRE(medgen_plugins_json(session.handle, &mine) == MEDGEN_OK);
  const std::string before = mine;
  std::thread([&] {
    CHECK(error().empty());
    CHECK(medgen_error_kind() == MEDGEN_KIND_NONE);
    const char* theirs = nullptr;
    CHECK(medgen_describe_json(session.handle, nullptr, &theirs) == MEDGEN_OK);
    CHECK(medgen_describe_json(session.handle, "other", &theirs) != MEDGEN_OK);
  }).join();
  CHECK(error() == "out is NULL");
  CHECK(before == mine);
}
