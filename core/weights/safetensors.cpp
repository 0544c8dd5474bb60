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

/// Header text and the tensors in the order of their data.
std::pair<std::string, std::vector<TensorMap::const_pointer>> plan_file(const TensorMap& tensors,
                                                                        const Metadata& metadata) {
  std::vector<TensorMap::const_pointer> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::ranges::stable_sort(order, std::greater{}, [](const auto* item) { return size_of(item->second.dtype()); });
  Json header = Json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::uint64_t offset = 0;
  for (const auto* item : order) {
    const auto& [name, tensor] = *item;
    const std::uint64_t end = offset + tensor.bytes();
    header[name] = {{"dtype", name_of(tensor.dtype())}, {"shape", tensor.shape()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return {std::move(text), std::move(order)};
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : SafetensorsFile(MappedFile::open(path)) {}

SafetensorsFile::SafetensorsFile(std::shared_ptr<const MappedFile> file) {
  const std::string path = file->path().string();
  ByteReader reader(file->bytes(), path);
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
    const Blob blob{data.subspan(entry.begin, entry.end - entry.begin), file};
    const std::string what = fmt::format("{}: tensor '{}'", path, entry.name);
    tensors_.emplace(entry.name, view_tensor(blob, entry.dtype, std::move(entry.shape), what));
  }
}

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  return bytes.size() > 8 && bytes[8] == std::byte{'{'};
}

void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata) {
  if (tensors.contains(std::string(kMetadataKey))) {
    throw DataError("{}: a tensor cannot be named '{}'", path.string(), kMetadataKey);
  }
  try {
    const auto [header, order] = plan_file(tensors, metadata);
    AtomicFile file(path);
    const auto header_bytes = static_cast<std::uint64_t>(header.size());
    file.write(std::as_bytes(std::span(&header_bytes, 1)));
    file.write(header);
    for (const auto* item : order) {
      file.write(std::span(static_cast<const std::byte*>(item->second.data()), item->second.bytes()));
    }
    file.commit();
  } catch (const Json::exception& error) {
    throw DataError("{}: a tensor name or metadata is not UTF-8: {}", path.string(), error.what());
  }
}

}  // namespace medgen
