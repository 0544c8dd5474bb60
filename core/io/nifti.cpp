// SPDX-License-Identifier: Apache-2.0
#include "core/io/nifti.h"

#include "core/base/error.h"
#include "core/io/byte_stream.h"
#include "core/io/nifti_header.h"
#include "core/volume/element.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPiece = std::size_t{1} << 20;  // bytes converted at a time

struct OpenNifti {
  NiftiHeader header;
  std::uint64_t first_voxel = 0;
  std::uint64_t header_bytes = 0;
  std::uint64_t voxel_bytes = 0;  ///< in the file
};

/// Bytes of the voxels in the file, known to fit into what the file can hold.
std::uint64_t checked_voxel_bytes(const NiftiHeader& header, std::uint64_t first_voxel, std::uint64_t most_bytes) {
  std::uint64_t needed = 0;
  const auto count = static_cast<std::uint64_t>(element_count(header.shape));
  const bool overflow = __builtin_mul_overflow(count, size_of(header.stored), &needed);
  if (overflow || first_voxel > most_bytes || needed > most_bytes - first_voxel) {
    throw DataError(
        "the header announces {} {} voxels from byte {} on, more than the file can hold (truncated, or a wrong size)",
        to_string(header.shape), name_of(header.stored), first_voxel);
  }
  return needed;
}

/// What is wrong with a header is found without knowing the file.
template <typename Step>
auto naming(const fs::path& path, Step step) {
  try {
    return step();
  } catch (const DataError& error) {
    throw DataError("{}: {}", path.string(), error.what());
  }
}

OpenNifti open_nifti(ByteSource& source) {
  std::array<std::byte, nifti::kHeader2> bytes{};
  const auto fill = [&](std::size_t from, std::size_t to) {
    if (source.read(std::span(bytes).subspan(from, to - from)) == to - from) return;
    throw DataError("{}: ends within the header: truncated, or no NIfTI file", source.path().string());
  };
  fill(0, 4);
  const std::size_t size = naming(source.path(), [&] { return nifti::header_size(std::span(bytes).first<4>()); });
  fill(4, size);
  return naming(source.path(), [&] {
    const nifti::RawHeader raw = nifti::parse(std::span(bytes).first(size));
    OpenNifti open{nifti::interpret(raw), raw.first_voxel, size, 0};
    open.voxel_bytes = checked_voxel_bytes(open.header, open.first_voxel, source.most_bytes());
    return open;
  });
}

template <typename Word>
void swap_words(std::byte* bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    std::byte* word = bytes + i * sizeof(Word);
    std::reverse(word, word + sizeof(Word));
  }
}

void swap_bytes(std::span<std::byte> bytes, std::size_t width) {
  switch (width) {
    case 2:
      return swap_words<std::uint16_t>(bytes.data(), bytes.size() / 2);
    case 4:
      return swap_words<std::uint32_t>(bytes.data(), bytes.size() / 4);
    case 8:
      return swap_words<std::uint64_t>(bytes.data(), bytes.size() / 8);
    default:
      return;
  }
}

void read_piece(ByteSource& source, const OpenNifti& open, std::uint64_t done, std::span<std::byte> piece) {
  const std::size_t count = source.read(piece);
  if (count < piece.size()) {
    throw DataError("{}: ends after {} of {} bytes of voxels (truncated)", source.path().string(), done + count,
                    open.voxel_bytes);
  }
  if (open.header.other_endian) swap_bytes(piece, size_of(open.header.stored));
}

/// value * slope + inter, in double, written from element `first` on.
void scale_piece(const NiftiHeader& header, const Tensor& piece, Tensor& voxels, std::size_t first) {
  with_element_type(header.stored, [&]<typename Stored>(Stored) {
    const auto in = piece.values<Stored>();
    const auto write = [&](auto* out) {
      using Out = std::remove_pointer_t<decltype(out)>;
      for (std::size_t i = 0; i < in.size(); ++i) {
        out[i] = static_cast<Out>(static_cast<double>(in[i]) * header.scl_slope + header.scl_inter);
      }
    };
    if (voxels.dtype() == DType::F32) {
      write(voxels.values<float>().data() + first);
    } else {
      write(voxels.values<double>().data() + first);
    }
  });
}

Tensor read_voxels(ByteSource& source, const OpenNifti& open) {
  const NiftiHeader& header = open.header;
  const std::size_t width = size_of(header.stored);
  Tensor voxels(header.dtype, header.shape);
  const bool in_place = !header.is_scaled();
  Tensor scratch(header.stored, {in_place ? 0 : static_cast<std::int64_t>(kPiece / width)});
  for (std::uint64_t done = 0; done < open.voxel_bytes;) {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, open.voxel_bytes - done));
    if (in_place) {
      read_piece(source, open, done, {static_cast<std::byte*>(voxels.data()) + done, bytes});
    } else {
      const Tensor piece = scratch.rows(0, static_cast<std::int64_t>(bytes / width));
      read_piece(source, open, done, {static_cast<std::byte*>(scratch.data()), bytes});
      scale_piece(header, piece, voxels, static_cast<std::size_t>(done / width));
    }
    done += bytes;
  }
  return voxels;
}

/// Surplus data mean that the header is not what the writer meant. Reading on also brings gzip's checksum to the test.
void require_end(ByteSource& source) {
  std::array<std::byte, 1> more{};
  if (source.read(more) == 0) return;
  throw DataError(
      "{}: more data follow the voxels that the header announces; the size in the header is wrong, or the file was "
      "not written in one piece",
      source.path().string());
}

bool is_gzip_name(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.ends_with(".nii.gz")) return true;
  if (name.ends_with(".nii")) return false;
  throw DataError("{}: a NIfTI file is written as .nii or .nii.gz", path.string());
}

DType storable(DType dtype) {
  if (is_half(dtype)) return DType::F32;
  return dtype == DType::Bool ? DType::U8 : dtype;
}

void write_voxels(ByteSink& sink, const Tensor& voxels, DType stored) {
  if (size_of(stored) == size_of(voxels.dtype())) {  // also Bool, whose bytes are 0 and 1
    sink.write({static_cast<const std::byte*>(voxels.data()), voxels.bytes()});
    return;
  }
  const Tensor flat = voxels.reshape({voxels.size()});
  const auto step = static_cast<std::int64_t>(kPiece / size_of(stored));
  for (std::int64_t first = 0; first < flat.size(); first += step) {
    const Tensor piece = flat.rows(first, std::min(step, flat.size() - first)).to(stored);
    sink.write({static_cast<const std::byte*>(piece.data()), piece.bytes()});
  }
}

}  // namespace

std::string_view name_of(AffineSource source) {
  switch (source) {
    case AffineSource::Sform:
      return "sform";
    case AffineSource::Qform:
      return "qform";
    case AffineSource::Pixdim:
      break;
  }
  return "pixdim";
}

NiftiHeader read_nifti_header(const fs::path& path) {
  ByteSource source(path);
  return open_nifti(source).header;
}

NiftiFile read_nifti(const fs::path& path) {
  ByteSource source(path);
  const OpenNifti open = open_nifti(source);
  const std::uint64_t gap = open.first_voxel - open.header_bytes;
  if (source.skip(gap) < gap) throw DataError("{}: ends before its first voxel (truncated)", path.string());
  Tensor voxels = read_voxels(source, open);
  require_end(source);
  return {Volume(std::move(voxels), open.header.affine), open.header};
}

void write_nifti(const fs::path& path, const Volume& volume, const NiftiOptions& options) {
  const bool gzip = is_gzip_name(path);
  const DType stored = storable(volume.dtype());
  const std::vector<std::byte> header = nifti::compose(volume, stored, options);
  ByteSink sink(path, gzip ? std::optional(options.gzip_level) : std::nullopt);
  sink.write(header);
  write_voxels(sink, volume.voxels(), stored);
  sink.commit();
}

}  // namespace medgen
