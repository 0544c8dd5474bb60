// SPDX-License-Identifier: Apache-2.0
#include "core/weights/safetensors.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/weights/byte_reader.h"
#include "core/weights/tensor_view.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <vector>

namespace medgen {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";

struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  std::uint64_t begin;
  std::uint64_t end;
};

/// JSON with two additions to the grammar: no key twice in one object, and no deeper than a header ever is.
Json parse_header(std::string_view text, const std::string& path) {
  constexpr int kMaxDepth = 4;
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxDepth) throw DataError("{}: the header is nested too deeply for a safetensors file", path);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      throw DataError("{}: '{}' stands twice in the header", path, value.get<std::string>());
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    throw DataError("{}: the safetensors header is not valid JSON: {}", path, error.what());
  }
}

DType parse_dtype(const Json& value, const std::string& what) {
  const auto name = value.is_string() ? value.get<std::string>() : value.dump();
  for (int i = 0; i <= static_cast<int>(DType::Bool); ++i) {
    if (name_of(static_cast<DType>(i)) == name) return static_cast<DType>(i);
  }
  throw DataError("{}: element type {} is not supported; convert it to F32, F16 or BF16", what, name);
}

std::uint64_t parse_size(const Json& value, const std::string& what, std::string_view field) {
  const auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > limit) {
    throw DataError("{}: '{}' holds {}, not a size", what, field, value.dump());
  }
  return value.get<std::uint64_t>();
}

Entry parse_entry(const std::string& name, const Json& value, const std::string& what) {
  constexpr std::array<std::string_view, 3> kFields{"dtype", "shape", "data_offsets"};
  const auto known = [&](const auto& item) { return std::ranges::find(kFields, item.key()) != kFields.end(); };
  const auto items = value.items();
  if (!value.is_object() || value.size() != kFields.size() || !std::all_of(items.begin(), items.end(), known)) {
    throw DataError("{}: must be an object with dtype, shape and data_offsets", what);
  }
  const Json& shape = value["shape"];
  const Json& offsets = value["data_offsets"];
  if (!shape.is_array()) throw DataError("{}: 'shape' must be an array", what);
  if (!offsets.is_array() || offsets.size() != 2) throw DataError("{}: 'data_offsets' must be [begin, end]", what);
  Entry entry{name, parse_dtype(value["dtype"], what), {}, 0, 0};
  for (const Json& axis : shape) entry.shape.push_back(static_cast<std::int64_t>(parse_size(axis, what, "shape")));
  entry.begin = parse_size(offsets[0], what, "data_offsets");
  entry.end = parse_size(offsets[1], what, "data_offsets");
  return entry;
}

Metadata parse_metadata(const Json& value, const std::string& path) {
  Metadata metadata;
  if (!value.is_object()) throw DataError("{}: '{}' must be an object of strings", path, kMetadataKey);
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) throw DataError("{}: '{}' holds '{}', which is not a string", path, kMetadataKey, key);
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

/// The data area is covered exactly once, front to back.
void check_layout(std::vector<Entry>& entries, std::uint64_t data_bytes, const std::string& path) {
  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  std::uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered || entry.end < entry.begin || entry.end > data_bytes) {
      throw DataError("{}: tensor '{}': data_offsets [{}, {}] {} (the previous tensor ends at {}, the data at {})",
                      path, entry.name, entry.begin, entry.end,
                      entry.end > data_bytes ? "reach past the end of the file" : "overlap or leave a gap", covered,
                      data_bytes);
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    throw DataError("{}: {} bytes after the last tensor belong to none: the file is damaged", path,
                    data_bytes - covered);
  }
}

std::string_view read_header(ByteReader& reader) {
  if (reader.size() < 8) reader.fail("too short for a safetensors file ({} bytes)", reader.size());
  const auto header_bytes = reader.number<std::uint64_t>();
  if (header_bytes > kMaxHeaderBytes) {
    reader.fail("a safetensors header of {} bytes is announced; at most {} are allowed", header_bytes, kMaxHeaderBytes);
  }
  const std::string_view header = reader.text(header_bytes);
  if (!header.starts_with('{')) reader.fail("the safetensors header does not start with '{{'");
  return header;
}

/// Names in the order of their data.
std::vector<std::string> ordered(const std::map<std::string, TensorKind>& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, kind] : tensors) names.push_back(name);
  std::ranges::stable_sort(names, std::greater{}, [&](const auto& name) { return size_of(tensors.at(name).dtype); });
  return names;
}

std::uint64_t bytes_of(const TensorKind& kind) {
  return static_cast<std::uint64_t>(element_count(kind.shape)) * size_of(kind.dtype);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : SafetensorsFile(MappedFile::open(path)) {}

SafetensorsFile::SafetensorsFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {
  const std::string path = file_->path().string();
  ByteReader reader(file_->bytes(), path);
  const Json header = parse_header(read_header(reader), path);
  const auto data = reader.take(reader.left());
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadataKey) {
      metadata_ = parse_metadata(value, path);
    } else {
      entries.push_back(parse_entry(name, value, fmt::format("{}: tensor '{}'", path, name)));
    }
  }
  check_layout(entries, data.size(), path);
  for (Entry& entry : entries) {
    const Blob blob{data.subspan(entry.begin, entry.end - entry.begin), file_};
    const std::string what = fmt::format("{}: tensor '{}'", path, entry.name);
    tensors_.emplace(entry.name, view_tensor(blob, entry.dtype, std::move(entry.shape), what));
  }
}

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  return bytes.size() > 8 && bytes[8] == std::byte{'{'};
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::map<std::string, TensorKind>& tensors, const Metadata& metadata)
    : file_(path) {
  if (tensors.contains(std::string(kMetadataKey)))
    throw DataError("{}: a tensor cannot be named '{}'", path.string(), kMetadataKey);
  Json header = Json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::uint64_t offset = 0;
  for (const std::string& name : ordered(tensors)) {
    const TensorKind& kind = tensors.at(name);
    const std::uint64_t end = offset + bytes_of(kind);
    header[name] = {{"dtype", name_of(kind.dtype)}, {"shape", kind.shape}, {"data_offsets", {offset, end}}};
    places_[name] = {kind, offset};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& error) {
    throw DataError("{}: a tensor name or metadata is not UTF-8: {}", path.string(), error.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto header_bytes = static_cast<std::uint64_t>(text.size());
  file_.write(std::as_bytes(std::span(&header_bytes, 1)));
  file_.write(text);
  for (auto& [name, place] : places_) place.begin += sizeof header_bytes + header_bytes;
}

void SafetensorsWriter::write(const std::string& name, const Tensor& tensor) {
  const auto found = places_.find(name);
  if (found == places_.end() || found->second.kind.dtype != tensor.dtype() ||
      found->second.kind.shape != tensor.shape()) {
    throw RuntimeError("{}: tensor '{}' of {} {} was not announced", file_.path().string(), name,
                       name_of(tensor.dtype()), to_string(tensor.shape()));
  }
  file_.write_at(found->second.begin, std::span(static_cast<const std::byte*>(tensor.data()), tensor.bytes()));
  places_.erase(found);
}

void SafetensorsWriter::commit() {
  if (!places_.empty())
    throw RuntimeError("{}: tensor '{}' did not come", file_.path().string(), places_.begin()->first);
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata) {
  std::map<std::string, TensorKind> kinds;
  for (const auto& [name, tensor] : tensors) kinds[name] = {tensor.dtype(), tensor.shape()};
  SafetensorsWriter writer(path, kinds, metadata);
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
  writer.commit();
}

}  // namespace medgen
