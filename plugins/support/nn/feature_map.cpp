// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/feature_map.h"

#include "plugins/support/nn/device.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/scratch_file.h"

#include <medgen/sdk/context.hpp>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <sys/mman.h>
#include <algorithm>

namespace medgen::nn {
namespace {

constexpr std::int64_t kMostMoved = std::int64_t{4} << 30;

/// (planes, rows, columns, channels) in memory as (1, channels, planes, rows, columns).
at::Tensor as_feature_map(const at::Tensor& planes) {
  return planes.permute({3, 0, 1, 2}).unsqueeze(0);
}

}  // namespace

MapMemory::MapMemory(std::int64_t limit, std::filesystem::path scratch) : limit_(limit), scratch_(std::move(scratch)) {}

MapMemory::Place MapMemory::take(std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (limit_ > 0 && in_memory_ + bytes > limit_) {
    in_files_ += bytes;
    peak_in_files_ = std::max(peak_in_files_, in_files_);
    return Place::File;
  }
  in_memory_ += bytes;
  peak_in_memory_ = std::max(peak_in_memory_, in_memory_ + beside_);
  return Place::Memory;
}

void MapMemory::give_back(std::int64_t bytes, Place place) {
  const std::lock_guard lock(mutex_);
  (place == Place::File ? in_files_ : in_memory_) -= bytes;
}

void MapMemory::set_beside(std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  beside_ = bytes;
  peak_in_memory_ = std::max(peak_in_memory_, in_memory_ + beside_);
  spare_.shrink(room());
}

void MapMemory::keep_pages(std::byte* from, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t free = room() - std::min(room(), spare_.bytes());
  const std::size_t kept = std::min(bytes, free / kLargePage * kLargePage);
  spare_.keep(from, kept);
  if (kept < bytes) ::madvise(from + kept, bytes - kept, MADV_DONTNEED);
}

void MapMemory::lend_pages(std::byte* to, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  spare_.lend(to, bytes);
  spare_.shrink(room());
}

/// Planes [from, to) of a map. Memory is an array for all of them, and the file has a place for each, but only those
/// that hold something cost anything.
class FeatureMap::Storage {
 public:
  using Place = MapMemory::Place;

  Storage(std::shared_ptr<MapMemory> memory, const FeatureMap& map, std::int64_t from, std::int64_t to, bool real)
      : from_(from),
        to_(to),
        plane_bytes_(map.plane_bytes()),
        memory_(std::move(memory)),
        real_(real),
        shape_{to - from, map.size_[1], map.size_[2], map.channels_},
        dtype_(map.dtype_),
        places_(static_cast<std::size_t>(to - from), Place::Nowhere) {}

  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  ~Storage() {
    each_run(from_, to_, [&](std::int64_t first, std::int64_t last) {
      // Views of planes that still live keep the array.
      const bool owned = vacate(first, last) == Place::Memory && real_ && values_.storage().use_count() == 1;
      if (owned) drop_memory(first, last);
    });
  }

  std::int64_t from() const { return from_; }

  std::int64_t to() const { return to_; }

  bool in_files(std::int64_t from, std::int64_t to) const {
    bool any = false;
    each_run(from, to, [&](std::int64_t first, std::int64_t) { any = any || place_of(first) == Place::File; });
    return any;
  }

  bool all_at(Place place, std::int64_t from, std::int64_t to) const { return run_of(from, to, place) == to; }

  void place(std::int64_t from, std::int64_t to) {
    const std::lock_guard lock(mutex_);
    while (from < to) {
      const std::int64_t last = run_of(from, to, place_of(from));
      if (place_of(from) == Place::Nowhere) {
        const Place place = memory_->take((last - from) * plane_bytes_);
        set_place(from, last, place);
        if (real_) open(place);
        if (real_ && place == Place::Memory) borrow_pages(from, last);
      }
      from = last;
    }
  }

  /// (planes, rows, columns, channels)
  at::Tensor read(std::int64_t from, std::int64_t to) const {
    if (all_at(Place::Memory, from, to)) return in_memory(from, to);
    at::Tensor planes = at::empty({to - from, shape_[1], shape_[2], shape_[3]}, at::TensorOptions().dtype(dtype_));
    each_run(from, to, [&](std::int64_t first, std::int64_t last) {
      const at::Tensor part = planes.narrow(0, first - from, last - first);
      TORCH_CHECK(place_of(first) != Place::Nowhere, "planes ", first, " to ", last,
                  " of a feature map were released, or never written");
      place_of(first) == Place::Memory ? void(part.copy_(in_memory(first, last))) : read_file(first, part);
    });
    return planes;
  }

  /// `planes` (planes, rows, columns, channels), contiguous; nothing is moved when they are the storage's own.
  void write(std::int64_t from, const at::Tensor& planes) {
    const std::int64_t to = from + planes.size(0);
    place(from, to);
    each_run(from, to, [&](std::int64_t first, std::int64_t last) {
      const at::Tensor part = planes.narrow(0, first - from, last - first);
      if (place_of(first) == Place::File) return write_file(first, part.cpu());
      const at::Tensor here = in_memory(first, last);
      if (here.const_data_ptr() != part.const_data_ptr()) to_host(part, here);
    });
  }

  void release(std::int64_t from, std::int64_t to) {
    const std::lock_guard lock(mutex_);
    each_run(from, to, [&](std::int64_t first, std::int64_t last) {
      const Place place = vacate(first, last);
      if (place == Place::Nowhere || !real_) return;
      place == Place::Memory ? drop_memory(first, last) : drop_file(first, last);
    });
  }

 private:
  std::size_t index(std::int64_t plane) const { return static_cast<std::size_t>(plane - from_); }

  Place place_of(std::int64_t plane) const { return places_[index(plane)]; }

  void set_place(std::int64_t from, std::int64_t to, Place place) {
    std::fill(&places_[index(from)], &places_[index(from)] + (to - from), place);
  }

  /// Planes of one place hold nothing any more. @return where they lay
  Place vacate(std::int64_t from, std::int64_t to) {
    const Place place = place_of(from);
    if (place == Place::Nowhere) return place;
    memory_->give_back((to - from) * plane_bytes_, place);
    set_place(from, to, Place::Nowhere);
    return place;
  }

  /// Where the planes from `from` on that lie at `place` end.
  std::int64_t run_of(std::int64_t from, std::int64_t to, Place place) const {
    while (from < to && place_of(from) == place) ++from;
    return from;
  }

  /// Calls `call` with ranges that lie at one place each.
  template <typename Call>
  void each_run(std::int64_t from, std::int64_t to, const Call& call) const {
    while (from < to) {
      const std::int64_t last = run_of(from, to, place_of(from));
      call(from, last);
      from = last;
    }
  }

  void open(Place place) {
    if (place == Place::Memory && !values_.defined()) values_ = large_array(shape_, dtype_);
    if (place == Place::File && !file_) file_ = std::make_unique<ScratchFile>(memory_->scratch());
  }

  at::Tensor in_memory(std::int64_t from, std::int64_t to) const { return values_.narrow(0, from - from_, to - from); }

  std::int64_t offset(std::int64_t plane) const { return (plane - from_) * plane_bytes_; }

  void read_file(std::int64_t from, const at::Tensor& planes) const {
    const sdk::Range range("read planes");
    file_->read(offset(from), planes.data_ptr(), planes.size(0) * plane_bytes_);
  }

  void write_file(std::int64_t from, const at::Tensor& planes) {
    const sdk::Range range("write planes");
    file_->write(offset(from), planes.data_ptr(), planes.size(0) * plane_bytes_);
  }

  std::byte* address(std::int64_t plane) const { return static_cast<std::byte*>(values_.data_ptr()) + offset(plane); }

  static std::byte* rounded(std::byte* address, std::uintptr_t up) {
    const auto number = reinterpret_cast<std::uintptr_t>(address) + up;
    return address + up - number % kLargePage;
  }

  /// For the pages that planes [from, to) have for themselves, if any.
  void borrow_pages(std::int64_t from, std::int64_t to) {
    std::byte *const first = rounded(address(from), kLargePage - 1), *const last = rounded(address(to), 0);
    memory_->lend_pages(first, first < last && can_move() ? static_cast<std::size_t>(last - first) : 0);
  }

  /// Whether the page is the array's and no plane in memory has a part in it.
  bool is_unused(std::byte* page) const {
    if (page < address(from_) || page + kLargePage > address(to_)) return false;
    const std::int64_t first = (page - address(from_)) / plane_bytes_;
    const std::int64_t last = (page + kLargePage - 1 - address(from_)) / plane_bytes_;
    return std::none_of(&places_[index(from_ + first)], &places_[index(from_ + last)] + 1,
                        [](Place place) { return place == Place::Memory; });
  }

  /// Pages can only go as a whole: with a part of the planes around, where these hold nothing in memory.
  void drop_memory(std::int64_t from, std::int64_t to) {
    std::byte *first = rounded(address(from), 0), *last = rounded(address(to), kLargePage - 1);
    if (!is_unused(first)) first += kLargePage;
    if (!is_unused(last - kLargePage)) last -= kLargePage;
    if (first >= last) return;
    const auto bytes = static_cast<std::size_t>(last - first);
    can_move() ? memory_->keep_pages(first, bytes) : void(::madvise(first, bytes, MADV_DONTNEED));
  }

  /// The system knows some ten thousand places of memory; pages that moved are one each.
  bool can_move() const { return (to_ - from_) * plane_bytes_ <= kMostMoved; }

  /// On a file system that cannot do it, the planes stay until the map is gone.
  void drop_file(std::int64_t from, std::int64_t to) { file_->discard(offset(from), (to - from) * plane_bytes_); }

  std::int64_t from_, to_, plane_bytes_;
  std::shared_ptr<MapMemory> memory_;
  bool real_;
  std::array<std::int64_t, 4> shape_;
  at::ScalarType dtype_;
  std::mutex mutex_;  // of changes to places_, which a thread makes while others read other planes
  std::vector<Place> places_;
  at::Tensor values_;
  std::unique_ptr<ScratchFile> file_;
};

FeatureMap::FeatureMap(std::shared_ptr<MapMemory> memory, std::int64_t channels, std::array<std::int64_t, 3> size,
                       at::ScalarType dtype, std::size_t parts, bool real)
    : channels_(channels), size_(size), dtype_(dtype) {
  for (std::size_t part = 0; part < parts; ++part) {
    const auto [from, to] = part_of(size[0], part, parts);
    if (from < to) parts_.push_back(std::make_shared<Storage>(memory, *this, from, to, real));
  }
  if (!real) return;
  const auto count = static_cast<std::size_t>(planes() * channels);
  plane_sums_ = std::make_shared<Sums>(zero_sums(count));
}

std::int64_t FeatureMap::plane_bytes() const {
  return size_[1] * size_[2] * channels_ * static_cast<std::int64_t>(c10::elementSize(dtype_));
}

template <typename Call>
void FeatureMap::each_part(std::int64_t from, std::int64_t to, const Call& call) const {
  for (const auto& part : parts_) {
    const std::int64_t first = std::max(from, part->from());
    const std::int64_t last = std::min(to, part->to());
    if (first < last) call(*part, first, last);
  }
}

at::Tensor FeatureMap::read(std::int64_t from, std::int64_t to) const {
  std::vector<at::Tensor> pieces;
  each_part(from, to, [&](const Storage& part, std::int64_t first, std::int64_t last) {
    pieces.push_back(part.read(first, last));
  });
  return as_feature_map(pieces.size() == 1 ? pieces.front() : at::cat(pieces));
}

void FeatureMap::place(std::int64_t from, std::int64_t to) {
  each_part(from, to, [](Storage& part, std::int64_t first, std::int64_t last) { part.place(first, last); });
}

at::Tensor FeatureMap::room(std::int64_t from, std::int64_t to) {
  place(from, to);
  for (const auto& part : parts_) {
    const bool inside = part->from() <= from && to <= part->to();
    if (inside && part->all_at(MapMemory::Place::Memory, from, to)) return as_feature_map(part->read(from, to));
  }
  return as_feature_map(at::empty({to - from, size_[1], size_[2], channels_}, at::TensorOptions().dtype(dtype_)));
}

void FeatureMap::release(std::int64_t from, std::int64_t to) {
  each_part(from, to, [](Storage& part, std::int64_t first, std::int64_t last) { part.release(first, last); });
}

bool FeatureMap::in_files(std::int64_t from, std::int64_t to) const {
  bool any = false;
  each_part(from, to, [&](const Storage& part, std::int64_t first, std::int64_t last) {
    any = any || part.in_files(first, last);
  });
  return any;
}

void FeatureMap::write(std::int64_t from, const at::Tensor& planes) {
  const at::Tensor values = planes.squeeze(0).permute({1, 2, 3, 0}).to(dtype_).contiguous();
  each_part(from, from + values.size(0), [&](Storage& part, std::int64_t first, std::int64_t last) {
    part.write(first, values.narrow(0, first - from, last - first));
  });
  const auto offset = static_cast<std::size_t>(from * channels_);
  std::fill_n(plane_sums_->sum.begin() + static_cast<std::ptrdiff_t>(offset), values.size(0) * channels_, 0.0);
  std::fill_n(plane_sums_->squares.begin() + static_cast<std::ptrdiff_t>(offset), values.size(0) * channels_, 0.0);
  channel_sums(values, plane_sums_->sum.data() + offset, plane_sums_->squares.data() + offset);
}

FeatureMap::Sums FeatureMap::sums() const {
  return total(*plane_sums_, static_cast<std::size_t>(channels_));
}

FeatureMap::Sums zero_sums(std::size_t count) {
  return {std::vector<double>(count, 0.0), std::vector<double>(count, 0.0)};
}

FeatureMap::Sums total(const FeatureMap::Sums& of_planes, std::size_t channels) {
  FeatureMap::Sums total = zero_sums(channels);
  for (std::size_t i = 0; i < of_planes.sum.size(); ++i) {
    total.sum[i % channels] += of_planes.sum[i];
    total.squares[i % channels] += of_planes.squares[i];
  }
  return total;
}

FeatureMap::Sums sums_of(const at::Tensor& planes) {
  FeatureMap::Sums each = zero_sums(static_cast<std::size_t>(planes.size(0) * planes.size(3)));
  channel_sums(planes, each.sum.data(), each.squares.data());
  return total(each, static_cast<std::size_t>(planes.size(3)));
}

std::pair<std::int64_t, std::int64_t> part_of(std::int64_t planes, std::size_t part, std::size_t parts) {
  const auto at = [&](std::size_t i) {
    return planes * static_cast<std::int64_t>(i) / static_cast<std::int64_t>(parts);
  };
  return {at(part), at(part + 1)};
}

}  // namespace medgen::nn
