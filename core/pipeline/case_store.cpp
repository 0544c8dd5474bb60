// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_store.h"

#include "core/base/error.h"

namespace medgen {

std::shared_ptr<const TrainingCase> CaseStore::add(const Case& entry) {
  auto loaded = std::make_shared<const TrainingCase>(reader_.read(entry));
  entries_.push_back(entry);
  identities_.push_back(loaded->identity);
  keep(entries_.size() - 1, loaded);
  return loaded;
}

std::shared_ptr<const TrainingCase> CaseStore::get(std::size_t number) const {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(number); found != kept_.end()) {
      order_.splice(order_.begin(), order_, found->second.place);
      return found->second.loaded;
    }
  }
  // Without the lock: other threads use what is in memory meanwhile.
  auto loaded = std::make_shared<const TrainingCase>(reader_.read(entries_.at(number)));
  if (loaded->identity != identities_.at(number))
    throw DataError("{}: its files were changed while the training goes on", entries_.at(number).name);
  keep(number, loaded);
  return loaded;
}

void CaseStore::keep(std::size_t number, std::shared_ptr<const TrainingCase> loaded) const {
  const std::lock_guard lock(mutex_);
  if (loaded->bytes() > most_bytes_ || kept_.contains(number)) return;
  bytes_ += loaded->bytes();
  order_.push_front(number);
  kept_[number] = {std::move(loaded), order_.begin()};
  while (bytes_ > most_bytes_) {
    const auto oldest = kept_.find(order_.back());
    bytes_ -= oldest->second.loaded->bytes();
    kept_.erase(oldest);
    order_.pop_back();
  }
}

}  // namespace medgen
