// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/dicom/slice.h"

#include <algorithm>
#include <cmath>

namespace medgen::dicom {
namespace {

constexpr double kSameDirection = 1e-3;  // between unit vectors: scanners write 6 digits
constexpr double kSameSpacing = 1e-3;    // relative
constexpr double kOffGrid = 0.1;         // of the distance of slices: positions are often rounded to 0.1 mm
constexpr double kSamePlaceMm = 1e-3;
constexpr double kTiltedGantry = 0.01;  // sine of the angle between the normal and the stack

Vec3 operator-(const Vec3& a, const Vec3& b) {
  return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}

double dot(const Vec3& a, const Vec3& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

double length(const Vec3& a) {
  return std::sqrt(dot(a, a));
}

Vec3 cross(const Vec3& a, const Vec3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

Vec3 normal_of(const Slice& slice) {
  return cross(slice.row_direction, slice.column_direction);
}

bool differ(double a, double b) {
  return !(std::fabs(a - b) <= kSameSpacing * std::max(std::fabs(a), std::fabs(b)));
}

bool differ(const Vec3& a, const Vec3& b) {
  return !(length(a - b) <= kSameDirection);
}

void require_sound(const Slice& slice) {
  const bool directions = std::fabs(length(slice.row_direction) - 1) < kSameDirection &&
                          std::fabs(length(slice.column_direction) - 1) < kSameDirection &&
                          std::fabs(dot(slice.row_direction, slice.column_direction)) < kSameDirection;
  if (!directions) {
    throw DataError("{}: Image Orientation (Patient) is not two unit vectors at a right angle: {} and {}", where(slice),
                    fmt::join(slice.row_direction, ", "), fmt::join(slice.column_direction, ", "));
  }
  if (!(slice.row_spacing_mm > 0) || !(slice.column_spacing_mm > 0)) {
    throw DataError("{}: the Pixel Spacing {} x {} mm is not positive", where(slice), slice.row_spacing_mm,
                    slice.column_spacing_mm);
  }
}

/// What must be the same in all slices of a volume.
void require_alike(const Slice& first, const Slice& other) {
  const auto refuse = [&](const char* what, const std::string& a, const std::string& b) {
    throw DataError("{} and {} are of one series but have {} ({} and {}); put the slices of one volume into a folder",
                    where(first), where(other), what, a, b);
  };
  const auto size = [](const Slice& slice) { return fmt::format("{} x {}", slice.columns, slice.rows); };
  const auto spacing = [](const Slice& slice) {
    return fmt::format("{:g} x {:g} mm", slice.column_spacing_mm, slice.row_spacing_mm);
  };
  const auto directions = [](const Slice& slice) {
    return fmt::format("{:.4g}, {:.4g}", fmt::join(slice.row_direction, " "), fmt::join(slice.column_direction, " "));
  };
  if (first.columns != other.columns || first.rows != other.rows) {
    refuse("different sizes", size(first), size(other));
  }
  if (differ(first.row_spacing_mm, other.row_spacing_mm) || differ(first.column_spacing_mm, other.column_spacing_mm)) {
    refuse("different pixel spacings", spacing(first), spacing(other));
  }
  if (differ(first.row_direction, other.row_direction) || differ(first.column_direction, other.column_direction)) {
    refuse("different orientations (a localizer?)", directions(first), directions(other));
  }
}

void require_different_places(const std::vector<Slice>& sorted) {
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (length(sorted[i].position_mm - sorted[i - 1].position_mm) > kSamePlaceMm) continue;
    throw DataError(
        "{} and {} lie at the same place: the series holds several volumes (times, echoes, phases) or a slice twice; "
        "put the slices of one volume into a folder",
        where(sorted[i - 1]), where(sorted[i]));
  }
}

/// The step from slice to slice. @throws DataError at the first slice that is not where the grid has it.
Vec3 regular_step(const std::vector<Slice>& sorted) {
  const auto gaps = static_cast<double>(sorted.size() - 1);
  const Vec3 origin = sorted.front().position_mm;
  const Vec3 whole = sorted.back().position_mm - origin;
  const Vec3 step = {whole[0] / gaps, whole[1] / gaps, whole[2] / gaps};
  double farthest = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const Vec3 along = sorted[i].position_mm - origin;
    const auto n = static_cast<double>(i);
    farthest = std::max(farthest, length(along - Vec3{n * step[0], n * step[1], n * step[2]}));
  }
  if (farthest <= kOffGrid * length(step)) return step;

  std::vector<double> distances;
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    distances.push_back(length(sorted[i].position_mm - sorted[i - 1].position_mm));
  }
  std::vector<double> ordered = distances;
  std::sort(ordered.begin(), ordered.end());
  const double usual = ordered[(ordered.size() - 1) / 2];
  const auto widest = std::max_element(distances.begin(), distances.end());
  const auto at = static_cast<std::size_t>(widest - distances.begin());
  const double times = *widest / usual;
  if (times > 1.5 && std::fabs(times - std::round(times)) < 2 * kOffGrid) {
    throw DataError("{} and {} are {:.4g} mm apart, other slices {:.4g} mm: {} missing between them", where(sorted[at]),
                    where(sorted[at + 1]), *widest, usual,
                    times < 2.5 ? std::string("a slice is") : fmt::format("{:.0f} slices are", times - 1));
  }
  throw DataError("{}: slices are unevenly spaced, {:.4g} to {:.4g} mm apart (widest before {}); resample the series",
                  sorted.front().file.parent_path().string(), ordered.front(), ordered.back(), where(sorted[at + 1]));
}

Vec3 single_step(const Slice& slice, std::vector<std::string>& warnings) {
  const bool known = slice.thickness_mm && *slice.thickness_mm > 0;
  if (!known) warnings.emplace_back("a single slice without thickness; taken as 1 mm");
  const double thickness = known ? *slice.thickness_mm : 1.0;
  const Vec3 normal = normal_of(slice);
  return {thickness * normal[0], thickness * normal[1], thickness * normal[2]};
}

Affine<Ras> affine_of(const Slice& first, const Vec3& step) {
  Matrix4 rows = geometry::kIdentity;
  for (std::size_t r = 0; r < 3; ++r) {
    rows[4 * r] = first.row_direction[r] * first.column_spacing_mm;
    rows[4 * r + 1] = first.column_direction[r] * first.row_spacing_mm;
    rows[4 * r + 2] = step[r];
    rows[4 * r + 3] = first.position_mm[r];
  }
  return to_ras(Affine<Lps>(rows));
}

}  // namespace

std::string where(const Slice& slice) {
  return slice.frame == 0 ? slice.file.string() : fmt::format("{} frame {}", slice.file.string(), slice.frame + 1);
}

Stack stack(std::vector<Slice> slices) {
  check(!slices.empty(), "a series has slices");
  for (const Slice& slice : slices) {
    require_sound(slice);
    require_alike(slices.front(), slice);
  }
  const Vec3 normal = normal_of(slices.front());
  std::stable_sort(slices.begin(), slices.end(), [&](const Slice& a, const Slice& b) {
    return dot(a.position_mm, normal) < dot(b.position_mm, normal);
  });
  require_different_places(slices);
  Stack result;
  const Vec3 step = slices.size() == 1 ? single_step(slices.front(), result.warnings) : regular_step(slices);
  const double tilt = length(cross(step, normal)) / length(step);
  if (tilt > kTiltedGantry) {
    result.warnings.push_back(fmt::format(
        "the slices are stacked at {:.1f} degrees from their normal (tilted gantry); the axes are sheared as they lie",
        std::asin(std::min(1.0, tilt)) * 180 / 3.14159265358979));
  }
  const Slice& first = slices.front();
  result.geometry = {{first.columns, first.rows, static_cast<std::int64_t>(slices.size())}, affine_of(first, step)};
  result.slices = std::move(slices);
  return result;
}

}  // namespace medgen::dicom
