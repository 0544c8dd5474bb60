// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace medgen {

/// Numbers and pictures of a training as TensorBoard reads them (`tensorboard --logdir FOLDER`). Every record is
/// appended whole and handed to the system at once, so a process that is killed loses nothing that it has written; what
/// a kill tears is at the end of a file, where readers stop. Each writer begins a file of its own, whose name sorts
/// after those there are: a training that goes on never touches what it wrote before.
/// One thread at a time. Errors are RuntimeError and name the file; after one the file holds whole records.
class EventWriter {
 public:
  /// @param folder      made when it is missing.
  /// @param first_step  the first step that will be told. Above 0 this goes on with an earlier training, and readers
  ///                    drop what the earlier files say of this step and those after it.
  explicit EventWriter(const std::filesystem::path& folder, std::uint64_t first_step = 0);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }

  /// Values by tag, such as "train/loss"; those that are not finite are written as such.
  void scalars(std::uint64_t step, const std::map<std::string, double>& values);
  /// A PNG file. @throws DataError when it is none.
  void image(std::uint64_t step, std::string_view tag, std::string_view png);

 private:
  void append(std::string_view payload);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace medgen
