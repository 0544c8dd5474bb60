// SPDX-License-Identifier: Apache-2.0
#include "core/dicom/jpeg2000.h"

#ifdef MEDGEN_HAS_DICOM

#include "core/base/error.h"

#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace medgen::dicom {
namespace {

/// A codestream in memory, as OpenJPEG reads it.
struct Source {
  std::span<const std::byte> code;
  std::size_t at = 0;
};

OPJ_SIZE_T read(void* buffer, OPJ_SIZE_T bytes, void* user) {
  auto& source = *static_cast<Source*>(user);
  const std::size_t count = std::min<std::size_t>(bytes, source.code.size() - source.at);
  if (count == 0) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(buffer, source.code.data() + source.at, count);
  source.at += count;
  return count;
}

OPJ_OFF_T skip(OPJ_OFF_T bytes, void* user) {
  auto& source = *static_cast<Source*>(user);
  if (bytes < 0 || static_cast<std::uint64_t>(bytes) > source.code.size() - source.at) return -1;
  source.at += static_cast<std::size_t>(bytes);
  return bytes;
}

OPJ_BOOL seek(OPJ_OFF_T place, void* user) {
  auto& source = *static_cast<Source*>(user);
  if (place < 0 || static_cast<std::uint64_t>(place) > source.code.size()) return OPJ_FALSE;
  source.at = static_cast<std::size_t>(place);
  return OPJ_TRUE;
}

void keep_message(const char* message, void* user) {
  auto& text = *static_cast<std::string*>(user);
  if (text.empty()) text = message;
  while (!text.empty() && (text.back() == '\n' || text.back() == '.')) text.pop_back();
}

template <auto destroy>
struct Destroy {
  void operator()(auto* object) const { destroy(object); }
};

using Stream = std::unique_ptr<opj_stream_t, Destroy<opj_stream_destroy>>;
using Codec = std::unique_ptr<opj_codec_t, Destroy<opj_destroy_codec>>;
using Image = std::unique_ptr<opj_image_t, Destroy<opj_image_destroy>>;

Stream open(Source& source) {
  Stream stream(opj_stream_default_create(OPJ_TRUE));
  opj_stream_set_user_data(stream.get(), &source, nullptr);
  opj_stream_set_user_data_length(stream.get(), source.code.size());
  opj_stream_set_read_function(stream.get(), read);
  opj_stream_set_skip_function(stream.get(), skip);
  opj_stream_set_seek_function(stream.get(), seek);
  return stream;
}

template <typename Word>
std::vector<std::byte> words_of(const opj_image_comp_t& samples) {
  const std::size_t count = std::size_t{samples.w} * samples.h;
  std::vector<std::byte> bytes(count * sizeof(Word));
  for (std::size_t i = 0; i < count; ++i) {
    const auto word = static_cast<Word>(samples.data[i]);
    std::memcpy(bytes.data() + i * sizeof(Word), &word, sizeof(Word));
  }
  return bytes;
}

}  // namespace

std::vector<std::byte> decode_jpeg2000(std::span<const std::byte> code, const PixelFormat& format, std::int64_t columns,
                                       std::int64_t rows) {
  constexpr unsigned char kCodestream[] = {0xff, 0x4f, 0xff, 0x51};
  const bool bare = code.size() > 4 && std::memcmp(code.data(), kCodestream, 4) == 0;
  std::string message;
  const auto refuse = [&message](const char* what) {
    throw DataError("{} JPEG 2000 data{}{}", what, message.empty() ? "" : ": ", message);
  };
  Source source{code};
  const Stream stream = open(source);
  const Codec codec(opj_create_decompress(bare ? OPJ_CODEC_J2K : OPJ_CODEC_JP2));
  opj_set_error_handler(codec.get(), keep_message, &message);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  opj_image_t* raw = nullptr;
  const bool begun = opj_setup_decoder(codec.get(), &parameters) && opj_read_header(stream.get(), codec.get(), &raw);
  const Image image(raw);
  if (!begun || !image) refuse("damaged");
  // Checked before anything of that size is allocated.
  const bool as_announced = image->numcomps == 1 && image->x1 - image->x0 == static_cast<OPJ_UINT32>(columns) &&
                            image->y1 - image->y0 == static_cast<OPJ_UINT32>(rows);
  if (!as_announced) refuse("the header announces another size than the");
  if (!opj_decode(codec.get(), stream.get(), image.get()) || image->comps[0].data == nullptr) refuse("damaged");
  const opj_image_comp_t& samples = image->comps[0];
  if (samples.w != columns || samples.h != rows) refuse("subsampled");
  return format.bits_allocated == 8 ? words_of<std::uint8_t>(samples) : words_of<std::uint16_t>(samples);
}

}  // namespace medgen::dicom

#endif
