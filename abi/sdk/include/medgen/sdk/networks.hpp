// SPDX-License-Identifier: Apache-2.0
// Denoisers, conditioners and compressors: the kinds whose functions take named tensors and give named tensors.
// Each function has the form `void f(const Context&, const Binds& in, Outputs& out)`; its names are those of the C
// interface.
#pragma once

#include <medgen/abi/compressor.h>
#include <medgen/abi/conditioner.h>
#include <medgen/abi/denoiser.h>
#include <medgen/sdk/component.hpp>

namespace medgen::sdk {
namespace detail {

template <typename T>
struct DenoiserTable {
  static medgen_status_t prepare(const medgen_context_t* context, medgen_obj_t* self,
                                 const medgen_binds_t* in) noexcept {
    return guard<T>([&] { object<T>(self).prepare(Context(*context), Binds(*in)); });
  }

  static constexpr medgen_denoiser_t make() {
    medgen_denoiser_t table{};
    table.struct_size = sizeof table;
    if constexpr (requires { &T::prepare; }) table.prepare = &prepare;
    table.predict = &compute<T, &T::predict>;
    return table;
  }

  static constexpr medgen_denoiser_t value = make();
};

template <typename T>
struct ConditionerTable {
  static constexpr medgen_conditioner_t make() {
    static_assert(
        requires { &T::encode; } || requires { &T::step; }, "a conditioner has `encode`, `step` or both");
    medgen_conditioner_t table{};
    table.struct_size = sizeof table;
    if constexpr (requires { &T::encode; }) table.encode = &compute<T, &T::encode>;
    if constexpr (requires { &T::step; }) table.step = &compute<T, &T::step>;
    return table;
  }

  static constexpr medgen_conditioner_t value = make();
};

template <typename T>
struct CompressorTable {
  static constexpr medgen_compressor_t make() {
    medgen_compressor_t table{};
    table.struct_size = sizeof table;
    if constexpr (requires { &T::encode; }) table.encode = &compute<T, &T::encode>;
    if constexpr (requires { &T::decode; }) table.decode = &compute<T, &T::decode>;
    if constexpr (requires { &T::prior; }) table.prior = &compute<T, &T::prior>;
    return table;
  }

  static constexpr medgen_compressor_t value = make();
};

}  // namespace detail

/// T has `predict`, and `prepare(const Context&, const Binds&)` where something depends on the conditions alone.
template <typename T>
inline constexpr medgen_component_desc_t denoiser = detail::make_desc<T>(MEDGEN_DENOISER_1,
                                                                         &detail::DenoiserTable<T>::value);

/// T has `encode` (once per window), `step` (at every evaluation) or both.
template <typename T>
inline constexpr medgen_component_desc_t conditioner = detail::make_desc<T>(MEDGEN_CONDITIONER_1,
                                                                            &detail::ConditionerTable<T>::value);

/// T has any of `encode`, `decode`, `prior`.
template <typename T>
inline constexpr medgen_component_desc_t compressor = detail::make_desc<T>(MEDGEN_COMPRESSOR_1,
                                                                           &detail::CompressorTable<T>::value);

}  // namespace medgen::sdk
