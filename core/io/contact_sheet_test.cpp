// SPDX-License-Identifier: Apache-2.0
#include "core/io/contact_sheet.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/io/test_folder.h"

#include <png.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>

namespace medgen {
namespace {

/// 4 x 6 x 8 voxels of 1 x 1 x 2 mm with one bright voxel, which is also the only labelled one.
ContactSheetRow row_with_spot(std::int64_t i, std::int64_t j, std::int64_t k) {
  const Affine<Ras> affine = Affine<Ras>::from_spacing({1, 1, 2});
  Volume image(Tensor::zeros(DType::I16, {8, 6, 4}), affine);
  Volume label(Tensor::zeros(DType::U8, {8, 6, 4}), affine);
  const auto at = static_cast<std::size_t>((k * 6 + j) * 4 + i);
  image.voxels().values<std::int16_t>()[at] = 1000;
  label.voxels().values<std::uint8_t>()[at] = 1;
  return {image, label};
}

/// First non-black pixel of a tile.
std::pair<std::size_t, std::size_t> first_bright(const Picture& sheet, std::size_t x0, std::size_t y0, std::size_t w,
                                                 std::size_t h) {
  for (std::size_t y = 0; y < h; ++y) {
    for (std::size_t x = 0; x < w; ++x) {
      const Rgb& pixel = sheet.at(x0 + x, y0 + y);
      if (*std::max_element(pixel.begin(), pixel.end()) > 50) return {x, y};
    }
  }
  FAIL("the tile is black");
  return {};
}

TEST_CASE("contact sheet: planes lie in RAS with true proportions, label beside image", "[unit][io]") {
  ContactSheetOptions options;
  options.scale = 1;
  const Picture sheet = draw_contact_sheet({row_with_spot(3, 5, 7)}, options);
  // Widths 4, 4, 6 and heights 6, 16, 16: mm are equal in all directions.
  REQUIRE(sheet.width == 8 + (4 + 2 + 4 + 8) + (4 + 2 + 4 + 8) + (6 + 2 + 6 + 8));
  REQUIRE(sheet.height == 8 + 16 + 8);
  // The spot is right, anterior, superior: at the right in all planes and at the top.
  REQUIRE(first_bright(sheet, 8, 8, 4, 6) == std::pair<std::size_t, std::size_t>(3, 0));
  REQUIRE(first_bright(sheet, 14, 8, 4, 6) == std::pair<std::size_t, std::size_t>(3, 0));
  REQUIRE(first_bright(sheet, 26, 8, 4, 16) == std::pair<std::size_t, std::size_t>(3, 0));
  REQUIRE(first_bright(sheet, 44, 8, 6, 16) == std::pair<std::size_t, std::size_t>(5, 0));
}

TEST_CASE("contact sheet: the picture does not depend on the orientation of the file", "[unit][io]") {
  const ContactSheetRow row = row_with_spot(2, 1, 6);
  const Picture expected = draw_contact_sheet({row});
  for (const char* code : {"LPS", "PIR", "SAL"}) {
    const Picture turned = draw_contact_sheet({{reorient(row.image, code), reorient(*row.label, "IPR")}});
    REQUIRE(turned.pixels == expected.pixels);
  }
}

TEST_CASE("contact sheet: images alone, constants, channels and NaN are drawn too", "[unit][io]") {
  const Volume constant(Tensor::zeros(DType::F32, {3, 3, 3}), {});
  Volume odd(Tensor::zeros(DType::F32, {2, 3, 3, 3}), {});
  odd.voxels().values<float>()[13] = std::numeric_limits<float>::quiet_NaN();
  const Picture sheet = draw_contact_sheet({{constant, std::nullopt}, {odd, std::nullopt}});
  REQUIRE(sheet.width == 8 + 3 * (190 + 8));
  REQUIRE(sheet.height == 8 + 2 * (190 + 8));
}

TEST_CASE("contact sheet: no rows, senseless scales and label maps with fractions are refused", "[unit][io]") {
  REQUIRE_THROWS_AS(draw_contact_sheet({}), DataError);
  ContactSheetOptions options;
  for (const double scale : {-1.0, 65.0, std::numeric_limits<double>::quiet_NaN()}) {
    options.scale = scale;
    REQUIRE_THROWS_AS(draw_contact_sheet({row_with_spot(0, 0, 0)}, options), DataError);
  }
  ContactSheetRow row = row_with_spot(0, 0, 0);
  Tensor fractions = row.label->voxels().to(DType::F32);
  fractions.values<float>()[0] = 0.5F;
  row.label = row.label->with_voxels(fractions);
  REQUIRE_THROWS_AS(draw_contact_sheet({row}), DataError);
}

TEST_CASE("png: libpng reads back the pixels", "[unit][io]") {
  const TestFolder folder;
  Picture picture(3, 2, Rgb{1, 2, 3});
  picture.at(2, 1) = {250, 128, 7};
  write_png(folder.path / "a.png", picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_file(&image, (folder.path / "a.png").c_str()) != 0);
  image.format = PNG_FORMAT_RGB;
  std::vector<Rgb> pixels(6);
  REQUIRE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr) != 0);
  REQUIRE(image.width == 3);
  REQUIRE(pixels == picture.pixels);
  REQUIRE_THROWS_AS(Picture(0, 5, Rgb{}), DataError);
  REQUIRE_THROWS_AS(Picture(1 << 20, 1 << 20, Rgb{}), DataError);
  REQUIRE_THROWS_AS(write_png(folder.path / "none" / "a.png", picture), RuntimeError);
}

}  // namespace
}  // namespace medgen
