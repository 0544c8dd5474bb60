// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/feature_map.h"

#include "plugins/support/nn/planes.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>

#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace medgen::nn {
namespace {

/// (planes, rows, columns, channels) in memory as (1, channels, planes, rows, columns).
at::Tensor as_feature_map(const at::Tensor& planes) {
  return planes.permute({3, 0, 1, 2}).unsqueeze(0);
}

/// A file without a name, gone when it is closed or the process dies.
int open_scratch(const std::filesystem::path& folder) {
  std::string name = (folder / "medgen-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  TORCH_CHECK(file >= 0, "no scratch file can be made in '", folder.string(), "': ", std::strerror(errno));
  ::unlink(name.c_str());
  return file;
}

template <typename Transfer>
void transfer_all(const Transfer& transfer, char* data, std::int64_t bytes, std::int64_t offset, const char* what) {
  while (bytes > 0) {
    const ssize_t moved = transfer(data, static_cast<std::size_t>(bytes), offset);
    if (moved < 0 && errno == EINTR) continue;
    TORCH_CHECK(moved > 0, "the scratch file of a feature map cannot be ", what, ": ",
                moved < 0 ? std::strerror(errno) : "it ends early");
    data += moved;
    bytes -= moved;
    offset += moved;
  }
}

}  // namespace

/// Memory of maps that are gone, all of one size. Thread: any.
class SpareMemory {
 public:
  explicit SpareMemory() = default;
  SpareMemory(const SpareMemory&) = delete;
  SpareMemory& operator=(const SpareMemory&) = delete;

  ~SpareMemory() { release(); }

  /// A spare of `bytes`, or null when there is none; then those of other sizes are given back to the system.
  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes != bytes_) release();
    bytes_ = bytes;
    if (blocks_.empty()) return nullptr;
    void* block = blocks_.back();
    blocks_.pop_back();
    return block;
  }

  void keep(void* block, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes == bytes_) {
      blocks_.push_back(block);
    } else {
      ::munmap(block, bytes);
    }
  }

 private:
  void release() {
    for (void* block : blocks_) ::munmap(block, bytes_);
    blocks_.clear();
  }

  std::mutex mutex_;
  std::size_t bytes_ = 0;
  std::vector<void*> blocks_;
};

MapMemory::MapMemory(std::int64_t limit, std::filesystem::path scratch)
    : limit_(limit), scratch_(std::move(scratch)), spare_(std::make_shared<SpareMemory>()) {}

at::Tensor MapMemory::allocate(at::IntArrayRef shape, at::ScalarType dtype) {
  const auto bytes = static_cast<std::size_t>(c10::multiply_integers(shape)) * c10::elementSize(dtype);
  void* address = spare_->take(bytes);
  if (address == nullptr) {
    address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK_WITH(OutOfMemoryError, address != MAP_FAILED, "not enough memory for a feature map of ", bytes,
                     " bytes");
    // Large pages spare most of the cost of memory that is touched for the first time.
    ::madvise(address, bytes, MADV_HUGEPAGE);
  }
  const auto keep = [spare = spare_, bytes](void* memory) { spare->keep(memory, bytes); };
  return at::from_blob(address, shape, keep, at::TensorOptions().dtype(dtype));
}

void MapMemory::take(std::int64_t bytes, bool memory) {
  (memory ? in_memory_ : in_files_) += bytes;
  peak_in_memory_ = std::max(peak_in_memory_, in_memory_);
  peak_in_files_ = std::max(peak_in_files_, in_files_);
}

void MapMemory::give_back(std::int64_t bytes, bool memory) {
  (memory ? in_memory_ : in_files_) -= bytes;
}

/// Planes [from, to) of a map.
class FeatureMap::Storage {
 public:
  Storage(std::shared_ptr<MapMemory> memory, const FeatureMap& map, std::int64_t from, std::int64_t to, bool real)
      : from_(from), to_(to), plane_bytes_(map.plane_bytes()), memory_(std::move(memory)) {
    in_memory_ = memory_->fits(bytes());
    memory_->take(bytes(), in_memory_);
    if (!real) return;
    shape_ = {to - from, map.size_[1], map.size_[2], map.channels_};
    dtype_ = map.dtype_;
    if (in_memory_) {
      values_ = memory_->allocate(shape_, dtype_);
    } else {
      file_ = open_scratch(memory_->scratch());
    }
  }

  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  ~Storage() {
    if (file_ >= 0) ::close(file_);
    memory_->give_back(bytes(), in_memory_);
  }

  std::int64_t from() const { return from_; }

  std::int64_t to() const { return to_; }

  /// (planes, rows, columns, channels)
  at::Tensor read(std::int64_t from, std::int64_t to) const {
    if (in_memory_) return values_.narrow(0, from - from_, to - from);
    at::Tensor planes = at::empty({to - from, shape_[1], shape_[2], shape_[3]}, at::TensorOptions().dtype(dtype_));
    const auto read = [this](char* data, std::size_t bytes, std::int64_t at) {
      return ::pread(file_, data, bytes, at);
    };
    transfer_all(read, static_cast<char*>(planes.data_ptr()), (to - from) * plane_bytes_, (from - from_) * plane_bytes_,
                 "read");
    return planes;
  }

  bool in_memory() const { return in_memory_; }

  /// `planes` (planes, rows, columns, channels), contiguous; nothing is moved when they are the storage's own.
  void write(std::int64_t from, const at::Tensor& planes) {
    if (in_memory_) {
      const at::Tensor place = values_.narrow(0, from - from_, planes.size(0));
      if (place.const_data_ptr() != planes.const_data_ptr()) place.copy_(planes);
      return;
    }
    const auto write = [this](char* data, std::size_t bytes, std::int64_t at) {
      return ::pwrite(file_, data, bytes, at);
    };
    transfer_all(write, static_cast<char*>(planes.data_ptr()), planes.size(0) * plane_bytes_,
                 (from - from_) * plane_bytes_, "written");
  }

 private:
  std::int64_t bytes() const { return (to_ - from_) * plane_bytes_; }

  std::int64_t from_, to_, plane_bytes_;
  std::shared_ptr<MapMemory> memory_;
  bool in_memory_ = true;
  std::array<std::int64_t, 4> shape_{};
  at::ScalarType dtype_ = at::kFloat;
  at::Tensor values_;
  int file_ = -1;
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
  plane_sums_ = std::make_shared<Sums>(Sums{std::vector<double>(count, 0.0), std::vector<double>(count, 0.0)});
}

std::int64_t FeatureMap::plane_bytes() const {
  return size_[1] * size_[2] * channels_ * static_cast<std::int64_t>(c10::elementSize(dtype_));
}

at::Tensor FeatureMap::read(std::int64_t from, std::int64_t to) const {
  std::vector<at::Tensor> pieces;
  for (const auto& part : parts_) {
    const std::int64_t first = std::max(from, part->from());
    const std::int64_t last = std::min(to, part->to());
    if (first < last) pieces.push_back(part->read(first, last));
  }
  return as_feature_map(pieces.size() == 1 ? pieces.front() : at::cat(pieces));
}

at::Tensor FeatureMap::room(std::int64_t from, std::int64_t to) const {
  for (const auto& part : parts_) {
    if (part->in_memory() && part->from() <= from && to <= part->to()) return as_feature_map(part->read(from, to));
  }
  return as_feature_map(at::empty({to - from, size_[1], size_[2], channels_}, at::TensorOptions().dtype(dtype_)));
}

void FeatureMap::write(std::int64_t from, const at::Tensor& planes) {
  const at::Tensor values = planes.squeeze(0).permute({1, 2, 3, 0}).to(dtype_).contiguous();
  const std::int64_t to = from + values.size(0);
  for (const auto& part : parts_) {
    const std::int64_t first = std::max(from, part->from());
    const std::int64_t last = std::min(to, part->to());
    if (first < last) part->write(first, values.narrow(0, first - from, last - first));
  }
  const auto offset = static_cast<std::size_t>(from * channels_);
  std::fill_n(plane_sums_->sum.begin() + static_cast<std::ptrdiff_t>(offset), values.size(0) * channels_, 0.0);
  std::fill_n(plane_sums_->squares.begin() + static_cast<std::ptrdiff_t>(offset), values.size(0) * channels_, 0.0);
  channel_sums(values, plane_sums_->sum.data() + offset, plane_sums_->squares.data() + offset);
}

FeatureMap::Sums FeatureMap::sums() const {
  return total(*plane_sums_, static_cast<std::size_t>(channels_));
}

FeatureMap::Sums total(const FeatureMap::Sums& of_planes, std::size_t channels) {
  FeatureMap::Sums total{std::vector<double>(channels, 0.0), std::vector<double>(channels, 0.0)};
  for (std::size_t i = 0; i < of_planes.sum.size(); ++i) {
    total.sum[i % channels] += of_planes.sum[i];
    total.squares[i % channels] += of_planes.squares[i];
  }
  return total;
}

std::pair<std::int64_t, std::int64_t> part_of(std::int64_t planes, std::size_t part, std::size_t parts) {
  const auto at = [&](std::size_t i) {
    return planes * static_cast<std::int64_t>(i) / static_cast<std::int64_t>(parts);
  };
  return {at(part), at(part + 1)};
}

}  // namespace medgen::nn
