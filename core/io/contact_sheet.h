// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/io/png.h"
#include "core/volume/volume.h"

#include <filesystem>
#include <optional>
#include <vector>

namespace medgen {

struct ContactSheetRow {
  Volume image;                 ///< of several channels the first is shown
  std::optional<Volume> label;  ///< brought onto the image's grid where it lies on another
};

struct ContactSheetOptions {
  double scale = 0;       ///< pixels per smallest voxel side; 0 makes the longest side of each volume about 190 pixels
  bool outlines = false;  ///< outlines of the labels on the images too
};

/// One row a case; for the axial, coronal and sagittal plane the label map (its colours, outlined) beside the image.
/// Planes go through the middle of what is labelled, or of the volume. Volumes are shown in RAS: the patient's right is
/// on the right side, anterior and superior are up, and anterior is right in sagittal planes; mm are the same in all
/// directions. Grey runs from the 0.5th to the 99.5th percentile of the planes shown.
/// @throws DataError without rows, for a scale that is not in 0 to 64, for a label map with fractions, or a picture too
/// large.
Picture draw_contact_sheet(const std::vector<ContactSheetRow>& rows, const ContactSheetOptions& options = {});

/// Drawn and written as PNG.
void write_contact_sheet(const std::filesystem::path& path, const std::vector<ContactSheetRow>& rows,
                         const ContactSheetOptions& options = {});

}  // namespace medgen
