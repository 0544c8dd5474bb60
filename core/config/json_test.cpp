// SPDX-License-Identifier: Apache-2.0
#include "core/config/json.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <limits>
#include <random>

namespace medgen {
namespace {

Json json(const char* text) {
  return Json::parse(text);
}

TEST_CASE("a manifest keeps the order of keys and breaks lines only where it must", "[unit][config]") {
  const Json value = json(R"({"z": 1, "spacing_mm": [1.5, 1.5, 2.0], "a": {"b": {}, "c": []}, "long": [
    "0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789", "0123456789"]})");
  CHECK(dump_pretty(value) ==
        "{\n"
        "  \"z\": 1,\n"
        "  \"spacing_mm\": [1.5, 1.5, 2.0],\n"
        "  \"a\": { \"b\": {}, \"c\": [] },\n"
        "  \"long\": [\n"
        "    \"0123456789012345678901234567890123456789\",\n"
        "    \"0123456789012345678901234567890123456789\",\n"
        "    \"0123456789\"\n"
        "  ]\n"
        "}\n");
  CHECK(dump_pretty(json("{}")) == "{}\n");
}

TEST_CASE("doubles come back to the same bits", "[unit][config]") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t bits = random();
    double number = 0;
    std::memcpy(&number, &bits, sizeof number);
    if (!std::isfinite(number)) continue;
    CHECK(Json::parse(dump_compact(number)).get<double>() == number);
  }
  CHECK(dump_compact(0.1) == "0.1");
  CHECK(dump_compact(1.0) == "1.0");
}

TEST_CASE("the content hash sees contents only", "[unit][config]") {
  CHECK(dump_canonical(json(R"({"b": [1.0, 2], "a": {"d": null, "c": 0.5}})")) ==
        R"({"a":{"c":0.5,"d":null},"b":[1,2]})");
  CHECK(content_hash(json(R"({"a": 30, "b": 1})")) == content_hash(json(R"({"b": 1.0, "a": 30.0})")));
  CHECK(content_hash(json(R"({"a": 30})")) != content_hash(json(R"({"a": 31})")));
  CHECK(content_hash(json("[1, 2]")) != content_hash(json("[2, 1]")));
  CHECK(content_hash(json("{}")) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

TEST_CASE("contents are compared as JSON Schema does", "[unit][config]") {
  CHECK(same_content(json(R"({"a": 1, "b": 2.0})"), json(R"({"b": 2, "a": 1})")));
  CHECK(same_content(json("1"), json("1.0")));
  CHECK_FALSE(same_content(json("1"), json("true")));
  CHECK_FALSE(same_content(json("[1]"), json("[1, 1]")));
}

TEST_CASE("JSON refuses what it cannot hold", "[unit][config]") {
  const Json nan = {{"a", {1.0, std::numeric_limits<double>::quiet_NaN()}}};
  CHECK_THROWS_MATCHES(dump_pretty(nan), ConfigError,
                       Catch::Message("JSON cannot hold the number nan: numbers must be finite"));
  CHECK_THROWS_AS(dump_compact(std::numeric_limits<double>::infinity()), ConfigError);
  CHECK_THROWS_AS(dump_canonical(nan), ConfigError);
  CHECK_THROWS_AS(dump_pretty(Json("\xFF")), ConfigError);
}

TEST_CASE("excerpts are cut between characters", "[unit][config]") {
  CHECK(excerpt("aü", 4) == "\"aü...");
  CHECK(excerpt("aü", 3) == "\"a...");
  CHECK(excerpt(json("[1, 2]")) == "[1,2]");
}

TEST_CASE("differences are told by path, the first few of them", "[unit][config]") {
  CHECK(differences(json(R"({"a": {"b": [1, 2]}, "c": 1})"), json(R"({"a": {"b": [1, 3]}, "c": 1})")) ==
        "a.b.1 is 3, was 2");
  CHECK(differences(json(R"({"a": 1, "b": "x"})"), json(R"({"a": 1})")) == "b is missing, was \"x\"");
  CHECK(differences(json("{}"), json(R"({"a": null})")) == "a is null, was missing");
  CHECK(differences(json(R"({"a": 1, "b": 2})"), json(R"({"b": 2, "a": 1})")).empty());
  CHECK(differences(json("[1, 2, 3, 4, 5]"), json("[0, 0, 0, 0, 0]")) ==
        "0 is 0, was 1; 1 is 0, was 2; 2 is 0, was 3; ...");
}

}  // namespace
}  // namespace medgen
