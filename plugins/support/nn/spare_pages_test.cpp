// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/spare_pages.h"

#include "plugins/support/nn/large_memory.h"

#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <cstdint>

using namespace medgen;

namespace {

constexpr std::size_t kPage = nn::kLargePage, kPages = 6;

/// Six large pages and some, full of `value`.
class Array {
 public:
  explicit Array(int value) : values_(nn::large_array({(kPages + 1) * kPage}, at::kByte)) {
    std::fill_n(page(0), kPages * kPage, static_cast<std::byte>(value));
  }

  std::byte* page(std::size_t i) const {
    const auto first = reinterpret_cast<std::uintptr_t>(values_.data_ptr());
    return reinterpret_cast<std::byte*>((first + kPage - 1) / kPage * kPage + i * kPage);
  }

  /// The one value of pages [from, to).
  int value(std::size_t from, std::size_t to) const {
    CHECK(std::all_of(page(from), page(to), [&](std::byte byte) { return byte == *page(from); }));
    return static_cast<int>(*page(from));
  }

 private:
  at::Tensor values_;
};

}  // namespace

TEST_CASE("spare pages: they move from array to array", "[unit][nn]") {
  const Array from(1), to(2);
  nn::SparePages spare;
  spare.keep(from.page(1), 3 * kPage);
  CHECK(spare.bytes() == 3 * kPage);
  CHECK(from.value(0, 1) == 1);
  CHECK(from.value(1, 4) == 0);
  CHECK(from.value(4, kPages) == 1);
  spare.lend(to.page(2), 2 * kPage);
  CHECK(spare.bytes() == kPage);
  CHECK(to.value(0, 2) == 2);
  CHECK(to.value(2, 4) == 1);
  CHECK(to.value(4, kPages) == 2);
  SECTION("as far as they go") {
    spare.lend(to.page(0), 2 * kPage);
    CHECK(spare.bytes() == 0);
    CHECK(to.value(0, 1) == 1);
    CHECK(to.value(1, 2) == 2);
  }
  SECTION("and back, with others that came from elsewhere") {
    spare.keep(to.page(0), kPages * kPage);
    CHECK(spare.bytes() == (kPages + 1) * kPage);
    CHECK(to.value(0, kPages) == 0);
    spare.lend(from.page(0), kPages * kPage);
    CHECK(spare.bytes() == kPage);
    std::fill_n(from.page(0), kPages * kPage, std::byte{3});
    CHECK(from.value(0, kPages) == 3);
  }
  SECTION("also when only a part of a page may be kept") {
    spare.keep(to.page(4), kPage);
    spare.shrink(2 * kPage - 1);
    CHECK(spare.bytes() == kPage);
    spare.lend(to.page(0), 2 * kPage);
    CHECK(to.value(0, 1) != 0);
    CHECK(to.value(1, 2) == 2);
  }
  SECTION("unless they are given back") {
    spare.shrink(0);
    CHECK(spare.bytes() == 0);
    spare.lend(to.page(0), kPage);
    CHECK(to.value(0, 1) == 2);
  }
}

TEST_CASE("spare pages: arrays end before or after", "[unit][nn]") {
  nn::SparePages spare;
  {
    const Array from(1);
    spare.keep(from.page(0), 2 * kPage);
  }
  const Array to(2);
  {
    nn::SparePages other;
    const Array from(3);
    other.keep(from.page(0), kPage);
    other.lend(to.page(4), kPage);
  }
  spare.lend(to.page(0), 4 * kPage);
  CHECK(to.value(0, 2) == 1);
  CHECK(to.value(2, 4) == 2);
  CHECK(to.value(4, 5) == 3);
}
