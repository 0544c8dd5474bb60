// SPDX-License-Identifier: Apache-2.0
#include "core/config/parse.h"

#include "core/base/file.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <random>

namespace medgen {
namespace {

namespace fs = std::filesystem;

std::string message_of(const std::string& text) {
  try {
    parse_config(text, "p.json");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("comments, a byte order mark and every kind of value are read", "[unit][config]") {
  const ConfigNode node = parse_config(
      "\xEF\xBB\xBF/* head */ {\"a\": [1, -2, 0.5, 1e-3, 1E+2], // tail\n"
      "\"b\": {\"c\": null, \"d\": true}, \"e\": \"\\u00fc\\n\", \"f\": {}, \"g\": [] }\n// end",
      "p.json");
  CHECK(node.json()["a"].size() == 5);
  CHECK(node.json()["e"] == "ü\n");
  CHECK(node.at("a").at(1).where() == "p.json:1:22");
  CHECK(node.at("b").at("d").where() == "p.json:2:23");
  CHECK(parse_config("3", "p.json").as<int>() == 3);
  CHECK(parse_config("[1 // c\r, 2]\r\n", "p.json").json().size() == 2);
}

TEST_CASE("keys keep their order", "[unit][config]") {
  CHECK(dump_compact(parse_config(R"({"z": 1, "a": 2, "m": 3})", "p").json()) == R"({"z":1,"a":2,"m":3})");
}

TEST_CASE("what is not JSON is refused with its place and what to do", "[unit][config]") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "p.json:1:1: the document is empty"},
      {" \n// only a comment", "p.json:1:1: the document is empty"},
      {"{\"a\": 1,\n}", "p.json:1:8: a comma before }: remove it"},
      {"[1, 2, /* c */ ]", "p.json:1:6: a comma before ]: remove it"},
      {"{\"a\": 1\n \"b\": 2}",
       "p.json:2:2: a comma or } is missing here, unexpected \"b\" (inside the { of p.json:1:1)"},
      {"{\"a\": [1, 2}", "p.json:1:12: a comma or ] is missing here, unexpected } (inside the [ of p.json:1:7)"},
      {"{\"a\": {\n\"b\": 1", "p.json:2:7: a comma or } is missing here, the text ends (inside the { of p.json:1:7)"},
      {"{\"a\" 1}", "p.json:1:6: a colon is missing after the key \"a\", unexpected 1"},
      {"{\"a\": }", "p.json:1:7: a value is missing here, unexpected }"},
      {"{a: 1}", "p.json:1:2: unexpected a: keys stand in double quotes"},
      {"{,}", "p.json:1:2: a key in double quotes, or } is missing here, unexpected , (inside the { of p.json:1:1)"},
      {"{\"a\": 'b'}", "p.json:1:7: unexpected 'b': strings stand in double quotes"},
      {"{\"a\": True}", "p.json:1:7: unexpected True: write true"},
      {"{\"a\": None}", "p.json:1:7: unexpected None: write null"},
      {"[NaN]", "p.json:1:2: unexpected NaN: numbers must be finite"},
      {"[-Infinity]", "p.json:1:2: unexpected -Infinity: numbers must be finite"},
      {"[1e999]", "p.json:1:2: the number 1e999 is too large"},
      {"[99999999999999999999]", "p.json:1:2: the integer 99999999999999999999 does not fit 64 bits"},
      {"[01]", "p.json:1:2: unexpected 01: neither a number nor a string in double quotes"},
      {"[+1]", "p.json:1:2: unexpected +1: neither a number nor a string in double quotes"},
      {"[1.]", "p.json:1:2: unexpected 1.: neither a number nor a string in double quotes"},
      {"{\"a\": 1} 2", "p.json:1:10: unexpected 2 after the end of the document"},
      {"[\"a", "p.json:1:2: a string that does not end on its line: close it with \""},
      {"[\"a\n\"]", "p.json:1:2: a string that does not end on its line: close it with \""},
      {"[1 /* x", "p.json:1:4: a comment that does not end: close it with */"},
      {"[\"ab\\q\"]", "p.json:1:6: invalid string: forbidden character after backslash"},
      {"[\"\\ud800\"]", "p.json:1:9: invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF"},
      {"{\"a\": 1, \"b\": {\"a\": 2},\n \"\\u0061\": 3}",
       "p.json:2:2: the key \"\\u0061\" stands twice in this object"},
      {"[\"ü\", \"\xFF\"]", "p.json:1:8: this byte is not UTF-8; save the file as UTF-8"},
      {"\xFF\xFE{", "p.json:1:1: this byte is not UTF-8; save the file as UTF-8"},
      {"[\"\xC0\x80\"]", "p.json:1:3: this byte is not UTF-8; save the file as UTF-8"},
      {"[\"\xED\xA0\x80\"]", "p.json:1:3: this byte is not UTF-8; save the file as UTF-8"},
      {"}", "p.json:1:1: a value is missing here, unexpected }"}};
  for (const auto& [text, message] : cases) {
    CAPTURE(text);
    CHECK(message_of(text) == message);
  }
  CHECK(message_of(std::string("[1]\0", 4)) == "p.json:1:4: a zero byte: this is not a text file");
}

TEST_CASE("nesting, keys and bytes are limited", "[unit][config]") {
  CHECK(message_of(std::string(100, '[') + std::string(100, ']')) == "accepted");
  CHECK(message_of(std::string(101, '[') + std::string(101, ']')) == "p.json:1:101: nested more than 100 deep");
  CHECK(message_of(std::string(1000000, '[')) == "p.json:1:101: nested more than 100 deep");
  CHECK(message_of(std::string(kMaxConfigBytes + 1, ' ')) == "p.json: larger than 16777216 bytes");
  std::string keys = "{";
  for (int i = 0; i <= 10000; ++i) keys += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  CHECK_THAT(message_of(keys + "}"), Catch::Contains("more than 10000 keys in one object"));
}

TEST_CASE("files are read with their folder, missing ones are refused by name", "[unit][config]") {
  const fs::path file = fs::temp_directory_path() / "medgen_config_parse_test.json";
  write_file(file, "{\"a\": 1}");
  CHECK(read_config(file).folder() == fs::temp_directory_path());
  CHECK(read_config(file).at("a").where() == file.string() + ":1:7");
  CHECK(read_config(fs::relative(file)).folder().is_absolute());
  CHECK(parse_config("{}", "text", "some/folder").folder() == fs::current_path() / "some/folder");
  CHECK(parse_config("{}", "text").folder().empty());
  fs::remove(file);
  CHECK_THROWS_MATCHES(read_config(file), ConfigError, Catch::Predicate<ConfigError>([&](const ConfigError& error) {
                         return std::string(error.what()).find(file.string()) != std::string::npos;
                       }));
}

TEST_CASE("any damage to a document ends in a value or in an error that names a place", "[unit][config]") {
  const std::string valid =
      "/* c */ { \"medgen\": 1, \"é\": [1.5, -2e3, \"a\\\"\\u00e9\", null, true], // x\n \"steps\": {\"ct\": {\"k\": "
      "{}}}}";
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string text = valid;
    for (unsigned flips = random() % 4 + 1; flips > 0; --flips) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text[at] ^= static_cast<char>(1u << random() % 8);
          break;
        case 2:
          text.erase(at, random() % 5);
          break;
        default:
          text.insert(at, 1, "{}[],:\"/*\\1-e\r\n"[random() % 15]);
      }
      if (text.empty()) text.push_back(' ');
    }
    try {
      const ConfigNode node = parse_config(text, "p.json");
      REQUIRE(parse_config(dump_pretty(node.json()), "again").json() == node.json());
      if (node.contains("steps")) REQUIRE(node.at("steps").where_key().starts_with("p.json:"));
    } catch (const ConfigError& error) {
      REQUIRE(std::string(error.what()).starts_with("p.json:"));
    }
  }
}

}  // namespace
}  // namespace medgen
