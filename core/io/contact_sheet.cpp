// SPDX-License-Identifier: Apache-2.0
#include "core/io/contact_sheet.h"

#include "core/base/error.h"
#include "core/volume/element.h"
#include "core/volume/labels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace medgen {
namespace {

constexpr Rgb kPaper = {24, 24, 24};
constexpr std::size_t kNarrowGap = 2;  // between a label map and its image
constexpr std::size_t kWideGap = 8;
constexpr double kTileSide = 190;

/// The volume axes that run right and up on the screen, and the one across it.
struct Plane {
  std::size_t right, up, across;
};

constexpr std::array<Plane, 3> kPlanes = {{{0, 1, 2}, {0, 2, 1}, {1, 2, 0}}};  // axial, coronal, sagittal

/// Values of one plane, `right` fastest.
struct Slice {
  std::size_t columns = 0;
  std::size_t rows = 0;
  std::vector<double> values;

  double at(std::size_t right, std::size_t up) const { return values[up * columns + right]; }
};

Slice slice_of(const Volume& volume, const Plane& plane, std::int64_t position) {
  const Size3 size = volume.size();
  const Size3 step = {1, size[0], size[0] * size[1]};
  Slice slice{static_cast<std::size_t>(size[plane.right]), static_cast<std::size_t>(size[plane.up]), {}};
  slice.values.reserve(slice.columns * slice.rows);
  with_element_type(volume.dtype(), [&]<typename T>(T) {
    const T* voxels = volume.voxels().values<T>().data() + position * step[plane.across];
    for (std::int64_t up = 0; up < size[plane.up]; ++up) {
      for (std::int64_t right = 0; right < size[plane.right]; ++right) {
        slice.values.push_back(static_cast<double>(voxels[up * step[plane.up] + right * step[plane.right]]));
      }
    }
  });
  return slice;
}

/// Where pixel `pixel` of `pixels` falls on an axis of `size` voxels, from -0.5 to size - 0.5.
double place(std::size_t pixel, std::size_t pixels, std::size_t size) {
  return (static_cast<double>(pixel) + 0.5) * static_cast<double>(size) / static_cast<double>(pixels) - 0.5;
}

std::size_t nearest_index(double place, std::size_t size) {
  return std::min(static_cast<std::size_t>(std::max(0.0, std::floor(place + 0.5))), size - 1);
}

double linear_value(const Slice& slice, double right, double up) {
  const auto along = [](double position, std::size_t size) {
    const double inside = std::clamp(position, 0.0, static_cast<double>(size - 1));
    const auto low = static_cast<std::size_t>(inside);
    return std::pair(std::pair(low, std::min(low + 1, size - 1)), inside - static_cast<double>(low));
  };
  const auto [columns, right_share] = along(right, slice.columns);
  const auto [rows, up_share] = along(up, slice.rows);
  const double lower =
      std::lerp(slice.at(columns.first, rows.first), slice.at(columns.second, rows.first), right_share);
  const double upper =
      std::lerp(slice.at(columns.first, rows.second), slice.at(columns.second, rows.second), right_share);
  return std::lerp(lower, upper, up_share);
}

/// Hues a golden angle apart: neighbouring ids differ most.
Rgb colour_of(std::int64_t id) {
  constexpr double kGolden = 0.6180339887498949;
  const double hue = 6 * (static_cast<double>(id) * kGolden - std::floor(static_cast<double>(id) * kGolden));
  Rgb colour{};
  for (std::size_t c = 0; c < 3; ++c) {
    const double turn = std::fmod(hue + 5.0 - 2.0 * static_cast<double>(c), 6.0);
    const double share = 1 - 0.75 * std::clamp(std::min(turn, 4 - turn), 0.0, 1.0);
    colour[c] = static_cast<std::uint8_t>(std::lround(255 * share));
  }
  return colour;
}

Rgb dimmed(Rgb colour) {
  for (std::uint8_t& part : colour) part = static_cast<std::uint8_t>(part * 5 / 8);
  return colour;
}

/// Grey values of a case: the same in its three planes.
struct Greys {
  double black = 0;
  double white = 1;

  std::uint8_t of(double value) const {
    const double share = (value - black) / (white - black);
    return static_cast<std::uint8_t>(std::lround(255 * (std::isnan(share) ? 0 : std::clamp(share, 0.0, 1.0))));
  }
};

Greys greys_of(const std::array<Slice, 3>& slices) {
  std::vector<double> values;
  for (const Slice& slice : slices) {
    std::copy_if(slice.values.begin(), slice.values.end(), std::back_inserter(values),
                 [](double v) { return std::isfinite(v); });
  }
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  const Greys greys{at(0.005), at(0.995)};
  return greys.black < greys.white ? greys : Greys{greys.black, greys.black + 1};
}

struct TileSize {
  std::size_t width = 1;
  std::size_t height = 1;
};

/// Ids of a tile's pixels, rows from the top.
std::vector<std::int64_t> ids_of(const Slice& labels, TileSize size) {
  std::vector<std::int64_t> ids;
  ids.reserve(size.width * size.height);
  for (std::size_t y = 0; y < size.height; ++y) {
    const std::size_t up = nearest_index(place(size.height - 1 - y, size.height, labels.rows), labels.rows);
    for (std::size_t x = 0; x < size.width; ++x) {
      const std::size_t right = nearest_index(place(x, size.width, labels.columns), labels.columns);
      ids.push_back(static_cast<std::int64_t>(labels.at(right, up)));
    }
  }
  return ids;
}

/// Paints the labelled pixels that touch another label; with `fill` the others too, dimmer.
void paint_labels(Picture& tile, const std::vector<std::int64_t>& ids, bool fill) {
  for (std::size_t y = 0; y < tile.height; ++y) {
    for (std::size_t x = 0; x < tile.width; ++x) {
      const std::size_t at = y * tile.width + x;
      if (ids[at] == 0) continue;
      const bool border = (x > 0 && ids[at - 1] != ids[at]) || (x + 1 < tile.width && ids[at + 1] != ids[at]) ||
                          (y > 0 && ids[at - tile.width] != ids[at]) ||
                          (y + 1 < tile.height && ids[at + tile.width] != ids[at]);
      if (border) tile.at(x, y) = colour_of(ids[at]);
      if (!border && fill) tile.at(x, y) = dimmed(colour_of(ids[at]));
    }
  }
}

Picture image_tile(const Slice& image, const Greys& greys, TileSize size) {
  Picture tile(size.width, size.height, Rgb{});
  for (std::size_t y = 0; y < size.height; ++y) {
    const double up = place(size.height - 1 - y, size.height, image.rows);
    for (std::size_t x = 0; x < size.width; ++x) {
      const std::uint8_t grey = greys.of(linear_value(image, place(x, size.width, image.columns), up));
      tile.at(x, y) = {grey, grey, grey};
    }
  }
  return tile;
}

/// The middle of the labelled voxels, or of the volume.
Size3 centre_of(const Size3& size, const std::optional<Volume>& label) {
  Size3 low = size;
  Size3 high = {-1, -1, -1};
  if (label) {
    with_element_type(label->dtype(), [&]<typename T>(T) {
      const T* voxel = label->voxels().values<T>().data();
      for (Size3 at{}; at[2] < size[2]; ++at[2]) {
        for (at[1] = 0; at[1] < size[1]; ++at[1]) {
          for (at[0] = 0; at[0] < size[0]; ++at[0]) {
            if (*voxel++ == T{0}) continue;
            for (std::size_t d = 0; d < 3; ++d) {
              low[d] = std::min(low[d], at[d]);
              high[d] = std::max(high[d], at[d]);
            }
          }
        }
      }
    });
  }
  Size3 centre{};
  for (std::size_t d = 0; d < 3; ++d) centre[d] = high[d] < 0 ? size[d] / 2 : (low[d] + high[d]) / 2;
  return centre;
}

/// The first channel in RAS, of a type that C++ has.
Volume shown(const Volume& volume) {
  Volume first = volume;
  if (volume.has_channels()) {
    const Shape& shape = volume.voxels().shape();
    first = Volume(volume.voxels().rows(0, 1).reshape(Shape(shape.begin() + 1, shape.end())), volume.affine());
  }
  if (is_half(first.dtype())) first = first.with_voxels(first.voxels().to(DType::F32));
  return reorient(first, "RAS");
}

/// The label map on the grid of `image`, which is shown already.
std::optional<Volume> shown_label(const std::optional<Volume>& label, const Volume& image) {
  constexpr double kSamePlaceMm = 1e-3;
  if (!label) return std::nullopt;
  const Volume turned = as_labels(shown(*label));
  if (largest_difference_mm(turned.geometry(), image.geometry()) <= kSamePlaceMm) return turned;
  return resample(turned, image.geometry(), Interpolation::Nearest);
}

/// Six tiles: for each plane the label map and the image.
struct RowTiles {
  std::vector<Picture> labels, images;
};

RowTiles draw_row(const ContactSheetRow& row, const ContactSheetOptions& options) {
  const Volume image = shown(row.image);
  const std::optional<Volume> label = shown_label(row.label, image);
  const Size3 size = image.size();
  const Vec3 spacing = image.spacing_mm();
  Vec3 extent{};
  for (std::size_t d = 0; d < 3; ++d) extent[d] = spacing[d] * static_cast<double>(size[d]);
  const double pixels_per_mm = options.scale > 0 ? options.scale / *std::min_element(spacing.begin(), spacing.end())
                                                 : kTileSide / *std::max_element(extent.begin(), extent.end());
  const Size3 centre = centre_of(size, label);
  std::array<Slice, 3> slices;
  for (std::size_t p = 0; p < 3; ++p) slices[p] = slice_of(image, kPlanes[p], centre[kPlanes[p].across]);
  const Greys greys = greys_of(slices);
  const auto pixels = [&](std::size_t axis) {
    constexpr double kMost = 1 << 20;
    return static_cast<std::size_t>(std::clamp(std::round(extent[axis] * pixels_per_mm), 1.0, kMost));
  };
  RowTiles tiles;
  for (std::size_t p = 0; p < 3; ++p) {
    const TileSize tile{pixels(kPlanes[p].right), pixels(kPlanes[p].up)};
    tiles.images.push_back(image_tile(slices[p], greys, tile));
    tiles.labels.emplace_back(tile.width, tile.height, Rgb{});
    if (!label) continue;
    const auto ids = ids_of(slice_of(*label, kPlanes[p], centre[kPlanes[p].across]), tile);
    paint_labels(tiles.labels.back(), ids, true);
    if (options.outlines) paint_labels(tiles.images.back(), ids, false);
  }
  return tiles;
}

}  // namespace

Picture draw_contact_sheet(const std::vector<ContactSheetRow>& rows, const ContactSheetOptions& options) {
  if (rows.empty()) throw DataError("a contact sheet needs at least one volume");
  if (!(options.scale >= 0 && options.scale <= 64))
    throw DataError("the scale is 0 to 64 pixels, not {:g}", options.scale);
  const bool labelled = std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.label.has_value(); });
  std::vector<RowTiles> tiles;
  std::array<std::size_t, 3> widths{};
  std::size_t height = kWideGap;
  const auto height_of = [](const RowTiles& row) { return std::max(row.images[0].height, row.images[1].height); };
  for (const ContactSheetRow& row : rows) {
    tiles.push_back(draw_row(row, options));
    for (std::size_t p = 0; p < 3; ++p) widths[p] = std::max(widths[p], tiles.back().images[p].width);
    height += height_of(tiles.back()) + kWideGap;
  }
  std::size_t width = kWideGap;
  for (const std::size_t column : widths) width += column + kWideGap + (labelled ? column + kNarrowGap : 0);

  Picture sheet(width, height, kPaper);
  std::size_t y = kWideGap;
  for (const RowTiles& row : tiles) {
    std::size_t x = kWideGap;
    for (std::size_t p = 0; p < 3; ++p) {
      if (labelled) {
        sheet.paste(row.labels[p], x, y);
        x += widths[p] + kNarrowGap;
      }
      sheet.paste(row.images[p], x, y);
      x += widths[p] + kWideGap;
    }
    y += height_of(row) + kWideGap;
  }
  return sheet;
}

void write_contact_sheet(const std::filesystem::path& path, const std::vector<ContactSheetRow>& rows,
                         const ContactSheetOptions& options) {
  write_png(path, draw_contact_sheet(rows, options));
}

}  // namespace medgen
