// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

namespace medgen {

/// A fresh folder for one test, removed at its end.
struct TestFolder {
  std::filesystem::path path;

  TestFolder() {
    static std::atomic<int> counter{0};
    path = std::filesystem::temp_directory_path() / fmt::format("medgen-test-{}-{}", ::getpid(), counter++);
    std::filesystem::create_directories(path);
  }

  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }

  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
};

}  // namespace medgen
