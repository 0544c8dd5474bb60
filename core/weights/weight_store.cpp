// SPDX-License-Identifier: Apache-2.0
#include "core/weights/weight_store.h"

#include <algorithm>
#include <string_view>

namespace medgen {

struct WeightStore::Access {
  static const WeightStore& self(medgen_hobj_t* host) { return *reinterpret_cast<const WeightStore*>(host); }

  static uint64_t count(medgen_hobj_t* host) MEDGEN_NOEXCEPT { return self(host).by_index_.size(); }

  static medgen_status_t info(medgen_hobj_t* host, uint64_t index, medgen_weight_info_t* out) MEDGEN_NOEXCEPT {
    if (out == nullptr || out->struct_size < sizeof(medgen_weight_info_t)) return MEDGEN_E_INVALID;
    if (index >= self(host).by_index_.size()) return MEDGEN_E_NOT_FOUND;
    const auto& [name, tensor] = *self(host).by_index_[index];
    out->ndim = static_cast<std::int32_t>(tensor.shape().size());
    out->dtype = abi_dtype(tensor.dtype());
    out->reserved0 = 0;
    out->name = {name.data(), name.size()};
    out->shape = tensor.shape().data();
    return MEDGEN_OK;
  }

  static medgen_status_t get(medgen_hobj_t* host, medgen_str_t name, medgen_tensor_t* out) MEDGEN_NOEXCEPT {
    if (out == nullptr || (name.ptr == nullptr && name.len > 0)) return MEDGEN_E_INVALID;
    const auto& index = self(host).by_index_;
    const std::string_view wanted(name.ptr, name.len);
    const auto found =
        std::ranges::lower_bound(index, wanted, {}, [](const auto* item) { return std::string_view(item->first); });
    if (found == index.end() || (*found)->first != wanted) return MEDGEN_E_NOT_FOUND;
    self(host).used_[static_cast<std::size_t>(found - index.begin())].store(true, std::memory_order_relaxed);
    *out = (*found)->second.abi();
    return MEDGEN_OK;
  }
};

WeightStore::WeightStore(TensorMap tensors)
    : tensors_(std::move(tensors)), used_(std::make_unique<std::atomic<bool>[]>(tensors_.size())) {
  for (const auto& item : tensors_) by_index_.push_back(&item);
}

medgen_weights_t WeightStore::abi() const noexcept {
  // The C handle has no const; Access only reads through it.
  auto* host = reinterpret_cast<medgen_hobj_t*>(const_cast<WeightStore*>(this));
  return {sizeof(medgen_weights_t), 0, host, Access::count, Access::info, Access::get};
}

std::vector<std::string> WeightStore::unused() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < by_index_.size(); ++i) {
    if (!used_[i].load(std::memory_order_relaxed)) names.push_back(by_index_[i]->first);
  }
  return names;
}

}  // namespace medgen
