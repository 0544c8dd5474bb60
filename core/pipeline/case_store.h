// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/training_case.h"

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace medgen {

/// The cases of a training, in memory as far as it goes: those that were not used for longest are read again when they
/// are wanted. Which ones are in memory changes nothing but time. Thread: any.
class CaseStore {
 public:
  /// @param most_bytes  of cases that are kept; those in use count beyond it.
  CaseStore(CaseReader reader, std::uint64_t most_bytes) : reader_(std::move(reader)), most_bytes_(most_bytes) {}

  /// Reads a case for the first time; its number is the former `size`. @throws DataError as CaseReader.
  std::shared_ptr<const TrainingCase> add(const Case& entry);

  std::size_t size() const { return entries_.size(); }

  const std::string& name(std::size_t number) const { return entries_.at(number).name; }

  const std::string& identity(std::size_t number) const { return identities_.at(number); }

  /// @throws DataError also for files that were changed since `add`.
  std::shared_ptr<const TrainingCase> get(std::size_t number) const;

 private:
  void keep(std::size_t number, std::shared_ptr<const TrainingCase> loaded) const;

  struct Kept {
    std::shared_ptr<const TrainingCase> loaded;
    std::list<std::size_t>::iterator place;  ///< in `order_`
  };

  CaseReader reader_;
  std::uint64_t most_bytes_;
  std::vector<Case> entries_;
  std::vector<std::string> identities_;
  mutable std::mutex mutex_;  ///< of what follows
  mutable std::map<std::size_t, Kept> kept_;
  mutable std::list<std::size_t> order_;  ///< last used first
  mutable std::uint64_t bytes_ = 0;
};

}  // namespace medgen
