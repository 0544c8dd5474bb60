// SPDX-License-Identifier: Apache-2.0
// Whatever happens to a weight file, loading it gives a value or a DataError. Run with MEDGEN_SANITIZE for its full
// worth.
#include "core/weights/state.h"
#include "core/weights/test_files.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>

using namespace medgen;
using namespace medgen::test;

namespace {

std::vector<std::filesystem::path> fixtures() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(fixture(""))) {
    if (entry.path().extension() != ".py") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// True when the file loads. Touches every element, as a network would. Any exception but DataError fails the test.
bool loads(std::string_view contents) {
  try {
    // In memory, so that the address sanitizer sees a read past the end.
    const auto file = MappedFile::of_bytes(contents, "damaged.pt");
    for (const auto& [name, tensor] : load_state(file).tensors) {
      const Tensor doubles = tensor.to(DType::F64);
      if (doubles.size() != tensor.size()) return false;
    }
    return true;
  } catch (const DataError& error) {
    CHECK(std::string_view(error.what()).find("damaged.pt") != std::string_view::npos);
    return false;
  }
}

}  // namespace

TEST_CASE("a truncated weight file is an error at every length", "[unit][weights][damage]") {
  for (const auto& path : fixtures()) {
    INFO(path.filename().string());
    const std::string good = read_all(path);
    const std::size_t step = std::max<std::size_t>(1, good.size() / 400);
    std::size_t accepted = 0;
    for (std::size_t length = 0; length < good.size(); length += step) {
      accepted += loads(std::string_view(good).substr(0, length)) ? 1 : 0;
    }
    CHECK(accepted == 0);
  }
}

TEST_CASE("a weight file with bytes changed gives a value or an error", "[unit][weights][damage]") {
  std::mt19937 random(1);
  for (const auto& path : fixtures()) {
    INFO(path.filename().string());
    const std::string good = read_all(path);
    const std::size_t step = std::max<std::size_t>(1, good.size() / 700);
    for (std::size_t place = 0; place < good.size(); place += step) {
      std::string bad = good;
      bad[place] = static_cast<char>(random());
      loads(bad);
    }
    for (int round = 0; round < 100; ++round) {
      std::string bad = good;
      for (int i = 0; i < 8; ++i) bad[random() % bad.size()] = static_cast<char>(random());
      loads(bad);
    }
  }
}

TEST_CASE("a pickle with bytes changed gives a value or an error", "[unit][weights][damage]") {
  // In a zip with right checksums, so that the damage reaches the unpickler.
  std::mt19937 random(2);
  const std::string legacy = read_all(fixture("legacy_nested.pth"));
  const std::string floats(24, '\0');
  for (int round = 0; round < 4000; ++round) {
    std::string pickle = legacy.substr(legacy.find("\x80\x02}", 40));
    for (int i = 0; i < 1 + round % 4; ++i) pickle[random() % pickle.size()] = static_cast<char>(random());
    loads(make_zip({{"a/data.pkl", pickle}, {"a/data/0", floats}}));
  }
}
