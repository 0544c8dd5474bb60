// SPDX-License-Identifier: Apache-2.0
// DRAFT medgen.preview/1 for classes: T has `void render(const Context&, const Binds& in, Outputs& out)` and
//   static const void* extension(std::string_view id) { return id == MEDGEN_PREVIEW_1 ? &sdk::preview_table<T> :
//   nullptr; }
#pragma once

#include <medgen/abi/draft/preview.h>
#include <medgen/sdk/component.hpp>

namespace medgen::sdk {

template <typename T>
inline constexpr medgen_preview_t preview_table{sizeof(medgen_preview_t), 0, &detail::compute<T, &T::render>};

}  // namespace medgen::sdk
