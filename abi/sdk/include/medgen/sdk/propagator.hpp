// SPDX-License-Identifier: Apache-2.0
// Propagators:
//
//   struct MyPropagator {
//     MyCover begin(const Context&, const CoverRequest&);         // one volume to be covered
//     std::uint64_t count(const CoverRequest&) const;             // optional: number of windows, for planning
//   };
//   struct MyCover {
//     std::optional<Window> next(const Context&);                 // nothing when no window is left
//     void accept(const Context&, const Window&, const TensorView& result);  // result: (C, extent...) float32
//     void finish(const Context&, Outputs&);                      // writes "x" (C, shape...)
//   };
// Pointers inside a Window belong to the cover and live until that window is accepted.
#pragma once

#include <medgen/abi/propagator.h>
#include <medgen/sdk/component.hpp>

#include <optional>
#include <span>

namespace medgen::sdk {

/// The array to be covered; see medgen_cover_request_t.
struct CoverRequest {
  std::int64_t channels = 0;
  ShapeView shape;  ///< spatial axes
  Binds inputs;
  const medgen_space_t* space = nullptr;
};

using Window = medgen_window_t;

/// The box [origin, origin + extent) of an array with those axes, nothing known, noise of the whole array.
/// @throws Error when there are more than four axes or the two differ in length.
inline Window make_window(ShapeView origin, ShapeView extent) {
  if (origin.size() != extent.size() || origin.size() > 4) {
    throw invalid("a window has 1 to 4 axes, got origin ", to_string(origin), " and extent ", to_string(extent));
  }
  Window window{};
  window.struct_size = sizeof window;
  window.ndim = static_cast<std::uint32_t>(origin.size());
  for (std::size_t i = 0; i < origin.size(); ++i) {
    window.origin[i] = origin[i];
    window.extent[i] = extent[i];
  }
  for (int i = 0; i < 4; ++i) window.order[i] = i;
  window.conditions.struct_size = sizeof window.conditions;
  return window;
}

inline ShapeView origin_of(const Window& window) {
  return {window.origin, window.ndim};
}

inline ShapeView extent_of(const Window& window) {
  return {window.extent, window.ndim};
}

namespace detail {

inline constexpr medgen_binds_t kNoBinds{sizeof(medgen_binds_t), 0, nullptr, {nullptr, 0}};

inline CoverRequest from_abi_request(const medgen_cover_request_t& request) {
  return {request.channels,
          {request.shape, request.ndim},
          Binds(request.inputs == nullptr ? kNoBinds : *request.inputs),
          request.space};
}

template <typename T>
struct PropagatorTable {
  using Cover = std::remove_cvref_t<decltype(std::declval<T&>().begin(std::declval<const Context&>(),
                                                                      std::declval<const CoverRequest&>()))>;

  static medgen_status_t begin(const medgen_context_t* context, medgen_obj_t* self,
                               const medgen_cover_request_t* request, medgen_obj_t** cover) noexcept {
    return guard<T>(
        [&] { *cover = handle(new Cover(object<T>(self).begin(Context(*context), from_abi_request(*request)))); });
  }

  static medgen_status_t next(const medgen_context_t* context, medgen_obj_t*, medgen_obj_t* cover,
                              medgen_window_t* window, std::int32_t* done) noexcept {
    return guard<T>([&] {
      const std::optional<Window> found = object<Cover>(cover).next(Context(*context));
      *done = found.has_value() ? 0 : 1;
      if (found.has_value()) write_struct(*found, window);
    });
  }

  static medgen_status_t accept(const medgen_context_t* context, medgen_obj_t*, medgen_obj_t* cover,
                                const medgen_window_t* window, const medgen_tensor_t* result) noexcept {
    return guard<T>(
        [&] { object<Cover>(cover).accept(Context(*context), *window, TensorView(*result, "the window's result")); });
  }

  static medgen_status_t finish(const medgen_context_t* context, medgen_obj_t*, medgen_obj_t* cover,
                                const medgen_outputs_t* out) noexcept {
    return guard<T>([&] {
      Outputs outputs(*out);
      object<Cover>(cover).finish(Context(*context), outputs);
    });
  }

  static void end(medgen_obj_t*, medgen_obj_t* cover) noexcept { delete &object<Cover>(cover); }

  static std::uint64_t count(medgen_obj_t* self, const medgen_cover_request_t* request) noexcept {
    std::uint64_t windows = 0;
    guard<T>([&] { windows = object<T>(self).count(from_abi_request(*request)); });
    return windows;
  }

  static constexpr medgen_propagator_t make() {
    medgen_propagator_t table{};
    table.struct_size = sizeof table;
    table.begin = &begin;
    table.next = &next;
    table.accept = &accept;
    table.finish = &finish;
    table.end = &end;
    if constexpr (requires { &T::count; }) table.count = &count;
    return table;
  }

  static constexpr medgen_propagator_t value = make();
};

}  // namespace detail

template <typename T>
inline constexpr medgen_component_desc_t propagator = detail::make_desc<T>(MEDGEN_PROPAGATOR_1,
                                                                           &detail::PropagatorTable<T>::value);

}  // namespace medgen::sdk
