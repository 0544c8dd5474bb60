// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/spare_pages.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

namespace medgen::nn {

/// Memory that feature maps may take, and what a pass takes at a time. What does not fit lies in files.
/// Thread: any.
class MapMemory {
 public:
  /// @param limit    bytes of maps in memory; 0: as much as they need
  /// @param scratch  folder for the files of maps that do not fit
  MapMemory(std::int64_t limit, std::filesystem::path scratch);

  enum class Place : std::uint8_t { Nowhere, Memory, File };

  /// Takes `bytes` of memory, or of a file where memory is full.
  Place take(std::int64_t bytes);
  void give_back(std::int64_t bytes, Place place);

  /// What is taken beside maps from now on, until it is told anew; the limit does not hold for it.
  void set_beside(std::int64_t bytes);

  /// Pages that no plane needs any more, for planes that are placed later, as long as all takes no more memory than it
  /// once did. Large pages, as SparePages has them.
  void keep_pages(std::byte* from, std::size_t bytes);

  /// Such pages for planes that were placed in memory now, perhaps none; what these leave no room for goes to the
  /// system.
  void lend_pages(std::byte* to, std::size_t bytes);

  const std::filesystem::path& scratch() const { return scratch_; }

  /// Most bytes at a time of maps in memory and of what is beside them.
  std::int64_t peak_in_memory() const { return peak_in_memory_; }

  std::int64_t peak_in_files() const { return peak_in_files_; }

 private:
  /// For spare pages.
  std::size_t room() const { return static_cast<std::size_t>(peak_in_memory_ - in_memory_ - beside_); }

  std::mutex mutex_;
  std::int64_t limit_;
  std::filesystem::path scratch_;
  std::int64_t in_memory_ = 0, in_files_ = 0, beside_ = 0, peak_in_memory_ = 0, peak_in_files_ = 0;
  SparePages spare_;
};

/// What lies between two layers: (planes, rows, columns, channels), planes being the first spatial axis of the
/// network's tensors, cut into contiguous ranges of planes when several devices share the work. Planes take memory, or
/// room in a file, when they are placed, and give it back when they are released: a map that is read while another
/// grows costs no more than the larger of the two. With it go the sums of each plane's channels, of which normalisation
/// makes its statistics. A handle: copies share.
class FeatureMap {
 public:
  FeatureMap() = default;

  /// @param parts  how many devices share it
  /// @param real   false: a map that is only planned; it takes its place in `memory` and holds nothing
  FeatureMap(std::shared_ptr<MapMemory> memory, std::int64_t channels, std::array<std::int64_t, 3> size,
             at::ScalarType dtype, std::size_t parts, bool real);

  std::int64_t channels() const { return channels_; }

  const std::array<std::int64_t, 3>& size() const { return size_; }

  std::int64_t planes() const { return size_[0]; }

  std::int64_t voxels() const { return size_[0] * size_[1] * size_[2]; }

  at::ScalarType dtype() const { return dtype_; }

  std::int64_t plane_bytes() const;

  /// Decides where planes [from, to) lie, those that lie nowhere yet. Threads: disjoint ranges.
  /// @throws c10::OutOfMemoryError
  /// @throws c10::Error when no file can be made
  void place(std::int64_t from, std::int64_t to);

  /// Planes [from, to) as (1, channels, to - from, rows, columns), channels-last; shares memory where it can.
  /// @throws c10::Error for planes that lie nowhere, and when a file cannot be read
  at::Tensor read(std::int64_t from, std::int64_t to) const;

  /// Planes [from, to) of the same form, placed, to be filled and written: those of the map where they lie together in
  /// memory, which spares a copy, else others.
  at::Tensor room(std::int64_t from, std::int64_t to);

  /// Puts planes in place from `from` on, of the same form and of any device, and keeps their channel sums. Threads:
  /// disjoint ranges.
  /// @throws c10::Error when a file cannot be written (a full disk)
  void write(std::int64_t from, const at::Tensor& planes);

  /// Planes [from, to) are not read again; their sums stay. Threads: any, while others read other planes.
  void release(std::int64_t from, std::int64_t to);

  /// Whether any of the planes [from, to) lies in a file.
  bool in_files(std::int64_t from, std::int64_t to) const;

  /// Sums and sums of squares of every channel over all planes.
  struct Sums {
    std::vector<double> sum, squares;
  };

  Sums sums() const;

  class Storage;

 private:
  /// Calls `call` with each part that has planes of [from, to), and which.
  template <typename Call>
  void each_part(std::int64_t from, std::int64_t to, const Call& call) const;

  std::int64_t channels_ = 0;
  std::array<std::int64_t, 3> size_{};
  at::ScalarType dtype_ = at::kFloat;
  std::vector<std::shared_ptr<Storage>> parts_;
  std::shared_ptr<Sums> plane_sums_;  // [plane][channel]
};

/// Of so many channels, to add to.
FeatureMap::Sums zero_sums(std::size_t count);

/// Sums over planes, [plane][channel], in their order.
FeatureMap::Sums total(const FeatureMap::Sums& of_planes, std::size_t channels);

/// Of a whole map on the CPU, (planes, rows, columns, channels).
FeatureMap::Sums sums_of(const at::Tensor& planes);

/// The contiguous range of [0, planes) that is part `part` of `parts`.
std::pair<std::int64_t, std::int64_t> part_of(std::int64_t planes, std::size_t part, std::size_t parts);

}  // namespace medgen::nn
