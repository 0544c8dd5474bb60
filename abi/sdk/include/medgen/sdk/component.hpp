// SPDX-License-Identifier: Apache-2.0
// Turns a plain C++ class into a component's C tables. Every kind shares the following; the other headers add their
// functions.
//
//   struct MyThing {
//     static constexpr std::string_view id = "my.thing";                       // <plugin id>.<name>, or
//     <family>.<name> static constexpr std::string_view summary = "What it does, in one sentence."; static constexpr
//     std::string_view config_schema = R"({"type": "object", ...})"; static constexpr std::string_view io =
//     R"({"functions": {...}})";        // optional static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE; //
//     optional, default 0 explicit MyThing(const medgen::sdk::Create&); std::string describe() const; // optional, a
//     JSON object std::string estimate(std::string_view request_json) const;               // optional, a JSON object
//     void trim(const medgen::sdk::Context&, int level);                       // optional
//     static const void* extension(std::string_view id);                       // optional
//     static medgen_status_t status_of(const std::exception&) noexcept;        // optional, see guard()
//   };
//
// What the class lacks becomes a NULL slot. Members throw on failure. All tables are constants: nothing runs at load.
#pragma once

#include <medgen/abi/plugin.h>
#include <medgen/sdk/context.hpp>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace medgen::sdk {
namespace detail {

template <typename T>
T& object(medgen_obj_t* self) noexcept {
  return *reinterpret_cast<T*>(self);
}

template <typename T>
medgen_obj_t* handle(T* object) noexcept {
  return reinterpret_cast<medgen_obj_t*>(object);
}

/// The string constant `T::name`, whichever of the two forms the author chose.
template <typename Value>
constexpr medgen_str_t constant(const Value& value) {
  if constexpr (std::is_invocable_v<const Value&>) {
    const std::string_view view = value();
    return {view.data(), view.size()};
  } else {
    const std::string_view view = value;
    return {view.data(), view.size()};
  }
}

inline constexpr std::string_view kEmptyObject = "{}";

inline void write_all(const medgen_writer_t* writer, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::int64_t moved = writer->write(writer->host, bytes.data(), bytes.size());
    if (moved < 0) throw Error(static_cast<medgen_status_t>(moved), "the host's writer failed");
    if (moved == 0) throw Error(MEDGEN_E_IO, "the host's writer takes no more bytes");
    bytes.remove_prefix(std::min(bytes.size(), static_cast<std::size_t>(moved)));
  }
}

/// Writes a result struct into memory of the caller, who may know fewer or more fields than this plugin.
template <typename Struct>
void write_struct(const Struct& value, Struct* out) {
  const std::uint32_t size = out->struct_size;
  std::memcpy(out, &value, std::min<std::size_t>(size, sizeof(Struct)));
  out->struct_size = size;
}

template <typename T>
struct BaseTable {
  static medgen_status_t create(const medgen_create_t* request, medgen_obj_t** out) noexcept {
    return guard<T>([&] { *out = handle(new T(Create(*request))); });
  }

  static void destroy(medgen_obj_t* self) noexcept { delete &object<T>(self); }

  static medgen_status_t describe(medgen_obj_t* self, const medgen_writer_t* json) noexcept {
    return guard<T>([&] { write_all(json, object<T>(self).describe()); });
  }

  static medgen_status_t estimate(medgen_obj_t* self, medgen_str_t request, const medgen_writer_t* json) noexcept {
    return guard<T>([&] { write_all(json, object<T>(self).estimate(from_abi(request))); });
  }

  static medgen_status_t trim(const medgen_context_t* context, medgen_obj_t* self, std::int32_t level) noexcept {
    return guard<T>([&] { object<T>(self).trim(Context(*context), level); });
  }

  static const void* get_extension(const char* id) noexcept {
    const void* table = nullptr;
    guard<T>([&] { table = T::extension(std::string_view(id)); });
    return table;
  }

  static constexpr medgen_component_t make() {
    medgen_component_t table{};
    table.struct_size = sizeof table;
    if constexpr (requires { T::flags; }) table.flags = T::flags;
    table.create = &create;
    table.destroy = &destroy;
    if constexpr (requires(T & t) { t.describe(); }) table.describe = &describe;
    if constexpr (requires(T & t) { t.estimate(std::string_view()); }) table.estimate = &estimate;
    if constexpr (requires(T & t, const Context& c) { t.trim(c, 0); }) table.trim = &trim;
    if constexpr (requires { T::extension(std::string_view()); }) table.get_extension = &get_extension;
    return table;
  }

  static constexpr medgen_component_t value = make();
};

template <typename T>
constexpr medgen_component_desc_t make_desc(std::string_view kind, const void* table) {
  medgen_component_desc_t desc{};
  desc.struct_size = sizeof desc;
  desc.id = constant(T::id);
  desc.kind = constant(kind);
  desc.summary = constant(T::summary);
  desc.config_schema_json = constant(T::config_schema);
  if constexpr (requires { T::io; }) {
    desc.io_json = constant(T::io);
  } else {
    desc.io_json = constant(kEmptyObject);
  }
  desc.base = &BaseTable<T>::value;
  desc.interface = table;
  return desc;
}

/// The thunk of a computing function: calls `member` with the tensors as C++ objects.
template <typename T, auto member>
medgen_status_t compute(const medgen_context_t* context, medgen_obj_t* self, const medgen_binds_t* in,
                        const medgen_outputs_t* out) noexcept {
  return guard<T>([&] {
    Outputs outputs(*out);
    (object<T>(self).*member)(Context(*context), Binds(*in), outputs);
  });
}

}  // namespace detail
}  // namespace medgen::sdk
