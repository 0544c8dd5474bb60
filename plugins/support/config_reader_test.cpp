// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/config_reader.h"

#include "plugins/support/error.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen::support {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

}  // namespace

TEST_CASE("config reader: absent keys keep their defaults", "[unit][config]") {
  const json object = json::object();
  ConfigReader reader(object, "net");
  int64_t count = 3;
  bool flag = true;
  reader.read("count", count, 1, 9);
  reader.read("flag", flag);
  reader.finish();
  CHECK(count == 3);
  CHECK(flag);
}

TEST_CASE("config reader: one number stands for one per level", "[unit][config]") {
  const json object = {{"blocks", 2}};
  ConfigReader reader(object, "net");
  std::vector<int64_t> blocks;
  reader.read_per_level("blocks", blocks, 3, 1, 9);
  CHECK(blocks == std::vector<int64_t>{2, 2, 2});
}

TEST_CASE("config reader: null stands for an absent optional", "[unit][config]") {
  const json object = {{"classes", nullptr}};
  ConfigReader reader(object, "net");
  std::optional<int64_t> classes = 4;
  reader.read("classes", classes, 1, 9);
  CHECK_FALSE(classes);
}

TEST_CASE("config reader: keys of the published loader are accepted", "[unit][config]") {
  const json object = {{"_target_", "monai.networks.nets.DiffusionModelUNet"}};
  CHECK_NOTHROW(ConfigReader(object, "net").finish());
}

TEST_CASE("config reader: unknown keys are refused by name", "[unit][config]") {
  const json object = {{"num_chanels", 3}};
  CHECK_THROWS_WITH(ConfigReader(object, "net").finish(), Contains("net: 'num_chanels' is not known"));
}

TEST_CASE("config reader: integers are whole, in bounds and no booleans", "[unit][config]") {
  const json wrong = GENERATE(json(0), json(10), json(2.5), json(2.0), json(true), json("2"), json(nullptr),
                              json(18446744073709551615u), json::array({1}));
  const json object = {{"count", wrong}};
  ConfigReader reader(object, "net");
  int64_t count = 3;
  CHECK_THROWS_WITH(reader.read("count", count, 1, 9), Contains("'count' is " + wrong.dump()));
}

TEST_CASE("config reader: lists have the right length and the right items", "[unit][config]") {
  const json wrong = GENERATE(json::array(), json::array({1, 2}), json::array({1, 2, "3"}), json::array({1, 2, 0}),
                              json("1"), json(0));
  const json object = {{"blocks", wrong}};
  ConfigReader reader(object, "net");
  std::vector<int64_t> blocks;
  CHECK_THROWS_AS(reader.read_per_level("blocks", blocks, 3, 1, 9), InvalidInput);
}

TEST_CASE("config reader: numbers are finite", "[unit][config]") {
  const json object = {{"eps", "1e-6"}, {"inf", 1e300 * 1e300}};
  ConfigReader reader(object, "net");
  double eps = 1;
  CHECK_THROWS_AS(reader.read("eps", eps), InvalidInput);
  CHECK_THROWS_AS(reader.read("inf", eps), InvalidInput);
}

TEST_CASE("config reader: a config that is no object is refused", "[unit][config]") {
  const json list = json::array({1, 2});
  CHECK_THROWS_WITH(ConfigReader(list, "net"), Contains("an object is wanted"));
}

TEST_CASE("config reader: a needed key that is missing is named", "[unit][config]") {
  const json object = json::object();
  CHECK_THROWS_WITH(ConfigReader(object, "net").need("in_channels"), Contains("'in_channels' is missing"));
}

}  // namespace medgen::support
