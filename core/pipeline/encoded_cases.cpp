// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/encoded_cases.h"

namespace medgen {

std::size_t Encoded::bytes() const {
  std::size_t sum = latent.mean.bytes() + latent.sigma.bytes();
  for (const auto& [name, tensor] : conditions) sum += tensor.bytes();
  return sum;
}

std::shared_ptr<const Encoded> EncodedCases::get(std::size_t number, const std::function<Encoded()>& make) {
  if (const auto found = kept_.find(number); found != kept_.end()) return found->second;
  auto made = std::make_shared<const Encoded>(make());
  if (bytes_ + made->bytes() <= most_bytes_) {
    bytes_ += made->bytes();
    kept_[number] = made;
  }
  return made;
}

}  // namespace medgen
