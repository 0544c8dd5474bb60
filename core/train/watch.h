// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace medgen {

struct WatchOptions {
  double explode = 10;  ///< stops when the loss stays above this many times its lowest mean; 0: never
  double flat = 1e-3;   ///< stops when what samples hold varies less than this, twice in a row; 0: never
};

/// Sees a training go wrong before it has ruined everything. Not finite losses are the loop's own matter.
class Watch {
 public:
  /// All that it remembers: part of a checkpoint, so that a resumed training stops where the whole one does.
  struct State {
    double mean = 0;  ///< of the loss over about fifty iterations, outliers cut off
    double lowest = 0;
    double first = 0;  ///< the loss of the first iteration
    std::uint64_t seen = 0;
    std::uint64_t flat = 0;  ///< samples in a row without variance
  };

  explicit Watch(const WatchOptions& options) : options_(options) {}

  Watch(const WatchOptions& options, const State& state) : options_(options), state_(state) {}

  const State& state() const { return state_; }

  /// The loss of an iteration, finite. @return why the training should stop.
  std::optional<std::string> loss(double value);

  /// Standard deviations by name, relative to what they should be. @return why the training should stop.
  std::optional<std::string> spread(const std::map<std::string, double>& spreads);

  /// Whether the loss is on its way up: what was saved before is worth keeping.
  bool doubtful() const;

 private:
  bool above(double factor) const;

  WatchOptions options_;
  State state_;
};

}  // namespace medgen
