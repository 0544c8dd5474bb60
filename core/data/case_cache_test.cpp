// SPDX-License-Identifier: Apache-2.0
#include "core/data/case_cache.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

namespace medgen {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::uint64_t kPlenty = 1 << 30;

TensorMap of(float value, std::int64_t count = 100) {
  const std::vector<float> values(static_cast<std::size_t>(count), value);
  return {{"image", Tensor::from<float>(values, {count})}};
}

float first(const TensorMap& tensors) {
  return tensors.at("image").values<float>()[0];
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

const CaseCache::Make kNever = []() -> TensorMap { throw DataError("made again"); };

TEST_CASE("case cache: what was made once is read again, also by another object", "[unit][data]") {
  const TestFolder folder;
  CaseCache cache(folder.path / "a" / "cache", kPlenty);
  CHECK(first(cache.get("k", [] { return of(3); })) == 3);
  CHECK(first(cache.get("k", kNever)) == 3);
  CHECK(first(CaseCache(folder.path / "a" / "cache", kPlenty).get("k", kNever)) == 3);
  REQUIRE_THROWS_WITH(cache.get("other", kNever), "made again");
  CHECK(files_in(folder.path / "a" / "cache").size() == 1);
}

TEST_CASE("case cache: the key is the contents and what is done to them, not the name", "[unit][data]") {
  const TestFolder folder;
  const auto key = [&](const char* name, const char* contents, const char* options) {
    write_file(folder.path / name, contents);
    return cache_key(std::vector{folder.path / name}, options);
  };
  const std::string one = key("a.nii", "voxels", "RAS");
  CHECK(one.size() == 64);
  CHECK(key("b.nii", "voxels", "RAS") == one);
  CHECK(key("a.nii", "voxelz", "RAS") != one);
  CHECK(key("a.nii", "voxels", "LPS") != one);
  fs::create_directory(folder.path / "scan");
  const std::vector scan{folder.path / "scan"};
  write_file(folder.path / "scan" / "1", "x");
  const std::string series = cache_key(scan, "");
  write_file(folder.path / "scan" / "2", "y");
  CHECK(cache_key(scan, "") != series);
  REQUIRE_THROWS_AS(cache_key(std::vector{folder.path / "missing"}, ""), DataError);
}

TEST_CASE("case cache: a damaged entry is told and made again", "[unit][data]") {
  const TestFolder folder;
  std::vector<std::string> warnings;
  CaseCache cache(folder.path, kPlenty, [&](const std::string& warning) { warnings.push_back(warning); });
  cache.get("k", [] { return of(3); });
  const fs::path file = files_in(folder.path).at(0);
  std::string bytes = read_file(file, 1 << 20);
  SECTION("a bit of a voxel") {
    bytes[bytes.size() - 5] ^= 1;
  }
  SECTION("truncated") {
    bytes.resize(bytes.size() / 2);
  }
  SECTION("empty") {
    bytes.clear();
  }
  SECTION("something else") {
    bytes = "not an entry";
  }
  write_file(file, bytes);
  CHECK(first(cache.get("k", [] { return of(4); })) == 4);
  CHECK(warnings.size() == 1);
  CHECK(first(cache.get("k", kNever)) == 4);
}

TEST_CASE("case cache: beyond its limit what was not used for longest goes first", "[unit][data]") {
  const TestFolder folder;
  CaseCache cache(folder.path, 3 * 4300);
  for (const char* key : {"a", "b", "c"}) {
    cache.get(key, [] { return of(1, 1000); });
    std::this_thread::sleep_for(10ms);
  }
  cache.get("a", kNever);
  std::this_thread::sleep_for(10ms);
  cache.get("d", [] { return of(1, 1000); });
  cache.get("a", kNever);
  cache.get("c", kNever);
  REQUIRE_THROWS(cache.get("b", kNever));
  cache.get("huge", [] { return of(1, 100000); });
  CHECK(files_in(folder.path).size() == 3);
}

TEST_CASE("case cache: a cache that cannot be written only warns", "[unit][data]") {
  const TestFolder folder;
  std::vector<std::string> warnings;
  CaseCache cache(folder.path / "cache", kPlenty, [&](const std::string& warning) { warnings.push_back(warning); });
  fs::remove(folder.path / "cache");
  CHECK(first(cache.get("k", [] { return of(3); })) == 3);
  CHECK(warnings.size() == 1);
  write_file(folder.path / "file", "");
  REQUIRE_THROWS_AS(CaseCache(folder.path / "file" / "cache", kPlenty), RuntimeError);
}

TEST_CASE("case cache: abandoned temporary files are cleared away, young ones are not", "[unit][data]") {
  const TestFolder folder;
  write_file(folder.path / "old.tmp", "");
  write_file(folder.path / "young.tmp", "");
  fs::last_write_time(folder.path / "old.tmp", fs::file_time_type::clock::now() - 48h);
  CaseCache(folder.path, kPlenty).get("k", [] { return of(1); });
  CHECK_FALSE(fs::exists(folder.path / "old.tmp"));
  CHECK(fs::exists(folder.path / "young.tmp"));
}

TEST_CASE("case cache: processes that make, read and remove the same entries never get a wrong one", "[unit][data]") {
  const TestFolder folder;
  std::vector<pid_t> children;
  for (int process = 0; process < 3; ++process) {
    const pid_t child = ::fork();
    if (child == 0) {
      int wrong = 0;
      CaseCache cache(folder.path, 4 * 4300, [&](const std::string&) { ++wrong; });
      for (int i = 0; i < 60; ++i) {
        const int key = (i * 7 + process) % 8;
        const auto value = static_cast<float>(key);
        wrong += first(cache.get(std::to_string(key), [&] { return of(value, 1000); })) != value;
      }
      ::_exit(wrong == 0 ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
}

}  // namespace
}  // namespace medgen
