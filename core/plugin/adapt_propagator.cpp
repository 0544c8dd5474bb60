// SPDX-License-Identifier: Apache-2.0
// Propagators. A window's origin and extent are indexed by the array's spatial axes; axis i of its tensors is the
// array's axis order[i].

#include "core/component/propagator.h"
#include "core/plugin/plugin_component.h"
#include "core/tensor/finite.h"

#include <medgen/abi/medgen.h>

#include <algorithm>
#include <array>
#include <list>
#include <numeric>

namespace medgen {
namespace {

constexpr std::size_t kMaxWindowAxes = 4;
constexpr std::uint32_t kKnownWindowFlags = MEDGEN_WINDOW_INDEPENDENT | MEDGEN_WINDOW_START_KNOWN;
constexpr std::uint32_t kMaxConditions = 1000;

/// The C request; borrows the C++ one.
class AbiRequest {
 public:
  explicit AbiRequest(const CoverRequest& request) : binds_(request.inputs) {
    if (request.shape.empty() || request.shape.size() > kMaxWindowAxes) {
      throw ConfigError("a volume of {} spatial axes cannot be covered: 1 to {} are possible", request.shape.size(),
                        kMaxWindowAxes);
    }
    abi_.struct_size = sizeof abi_;
    abi_.ndim = static_cast<std::uint32_t>(request.shape.size());
    abi_.channels = request.channels;
    abi_.shape = request.shape.data();
    abi_.inputs = binds_.get();
  }

  const medgen_cover_request_t* get() const { return &abi_; }

 private:
  AbiBinds binds_;
  medgen_cover_request_t abi_{};
};

/// A tensor that a plugin lends; a copy, as the plugin may reuse its memory.
Tensor copy_lent(const PluginObject& object, const medgen_tensor_t& tensor, std::string_view name) {
  try {
    Tensor copy = Tensor::from_abi(tensor);
    if (const auto bad = count_non_finite(copy); bad > 0) throw DataError("{} values are NaN or infinite", bad);
    return copy;
  } catch (const Error& error) {
    object.fail_defect("next", "gave a bad tensor '{}': {}", name, error.what());
  }
}

bool same_window(const medgen_window_t& abi, const Window& window) {
  const std::size_t n = abi.ndim;
  return window.origin.size() == n && std::equal(window.origin.begin(), window.origin.end(), abi.origin) &&
         window.extent.size() == n && std::equal(window.extent.begin(), window.extent.end(), abi.extent) &&
         std::equal(window.order.begin(), window.order.end(), abi.order);
}

class PluginCover final : public Cover {
 public:
  PluginCover(std::shared_ptr<PluginObject> object, const CallContext& context, const CoverRequest& request)
      : object_(std::move(object)), channels_(request.channels), shape_(request.shape) {
    require("begin", object_->slot(&medgen_propagator_t::begin));
    require("next", object_->slot(&medgen_propagator_t::next));
    require("accept", object_->slot(&medgen_propagator_t::accept));
    require("finish", object_->slot(&medgen_propagator_t::finish));
    require("end", object_->slot(&medgen_propagator_t::end));
    const AbiRequest abi(request);
    CallFrame frame(object_->services(), context);
    medgen_obj_t* cover = nullptr;
    frame.run([&] { object_->call("begin", table().begin, frame.context(), object_->get(), abi.get(), &cover); });
    if (cover == nullptr) object_->fail_defect("begin", "reported success and gave no cover");
    cover_ = {cover, End{object_.get()}};
  }

  std::optional<Window> next(const CallContext& context) override {
    medgen_window_t abi{};
    abi.struct_size = sizeof abi;
    std::iota(std::begin(abi.order), std::end(abi.order), 0);
    std::int32_t done = 0;
    CallFrame frame(object_->services(), context);
    frame.run([&] { object_->call("next", table().next, frame.context(), object_->get(), cover_.get(), &abi, &done); });
    if (done != 0) return std::nullopt;
    Window window = read_window(abi);
    open_.push_back(abi);
    return window;
  }

  void accept(const CallContext& context, const Window& window, const Tensor& result) override {
    const auto open = std::find_if(open_.begin(), open_.end(),
                                   [&](const medgen_window_t& candidate) { return same_window(candidate, window); });
    check(open != open_.end(), "an accepted window is one that was handed out");
    check(result.dtype() == DType::F32 && result.shape() == window_shape(window, true),
          "a result has its window's shape");
    CallFrame frame(object_->services(), context);
    const medgen_tensor_t tensor = result.abi();
    frame.run([&] {
      object_->call("accept", table().accept, frame.context(), object_->get(), cover_.get(), &*open, &tensor);
    });
    open_.erase(open);
  }

  Tensor finish(const CallContext& context) override {
    CallFrame frame(object_->services(), context);
    frame.run([&] {
      object_->call("finish", table().finish, frame.context(), object_->get(), cover_.get(), frame.outputs());
    });
    TensorMap outputs = frame.take_outputs();
    Shape expected = shape_;
    expected.insert(expected.begin(), channels_);
    const auto x = outputs.find("x");
    if (x == outputs.end()) object_->fail_defect("finish", "reported success without output 'x'");
    if (x->second.shape() != expected || x->second.dtype() != DType::F32) {
      object_->fail_defect("finish", "gave 'x' as {} {}, F32 {} expected", name_of(x->second.dtype()),
                           to_string(x->second.shape()), to_string(expected));
    }
    if (const auto bad = count_non_finite(x->second); bad > 0) {
      object_->fail_defect("finish", "gave 'x' with {} of {} values NaN or infinite", bad, x->second.size());
    }
    return x->second;
  }

 private:
  struct End {
    PluginObject* object;

    void operator()(medgen_obj_t* cover) const {
      const auto held = object->lock();
      try {
        call_plugin(object->name_of("end"), object->table<medgen_propagator_t>().end, object->get(), cover);
      } catch (const std::exception& error) {
        object->services().host().log(MEDGEN_LOG_ERROR, error.what());
      }
    }
  };

  template <typename Slot>
  void require(std::string_view name, Slot slot) const {
    if (slot == nullptr) object_->fail_missing(name);
  }

  const medgen_propagator_t& table() const { return object_->table<medgen_propagator_t>(); }

  /// Of a window's tensors, with or without the channels in front.
  Shape window_shape(const Window& window, bool with_channels) const {
    Shape shape;
    if (with_channels) shape.push_back(channels_);
    for (const int axis : window.order) shape.push_back(window.extent[static_cast<std::size_t>(axis)]);
    return shape;
  }

  void check_box(const medgen_window_t& abi) const {
    if (abi.ndim != shape_.size())
      object_->fail_defect("next", "gave a window of {} axes for {}", abi.ndim, to_string(shape_));
    std::array<bool, kMaxWindowAxes> used{};
    for (std::size_t i = 0; i < shape_.size(); ++i) {
      const bool inside = abi.origin[i] >= 0 && abi.extent[i] > 0 && abi.extent[i] <= shape_[i] &&
                          abi.origin[i] <= shape_[i] - abi.extent[i];
      if (!inside) {
        object_->fail_defect("next", "gave a window at {} of {} on axis {}, outside the array of {}", abi.origin[i],
                             abi.extent[i], i, shape_[i]);
      }
      const std::int32_t axis = abi.order[i];
      if (axis < 0 || axis >= static_cast<std::int32_t>(shape_.size()) || used[static_cast<std::size_t>(axis)]) {
        object_->fail_defect("next", "gave a window whose order of axes is no permutation");
      }
      used[static_cast<std::size_t>(axis)] = true;
    }
  }

  Window read_window(const medgen_window_t& abi) const {
    check_box(abi);
    if ((abi.flags & ~kKnownWindowFlags) != 0 || abi.known_rule > MEDGEN_KNOWN_RENOISE) {
      object_->fail_defect("next", "gave a window with flags {:#x} and rule {}, which this medgen does not know",
                           abi.flags, abi.known_rule);
    }
    Window window;
    window.flags = abi.flags;
    window.known_rule = abi.known_rule;
    window.origin.assign(abi.origin, abi.origin + abi.ndim);
    window.extent.assign(abi.extent, abi.extent + abi.ndim);
    window.order.assign(abi.order, abi.order + abi.ndim);
    window.noise_stream = abi.noise_stream;
    read_known(abi, window);
    read_conditions(abi.conditions, window.conditions);
    return window;
  }

  void read_known(const medgen_window_t& abi, Window& window) const {
    const bool imposed = abi.known_rule != MEDGEN_KNOWN_NONE;
    const bool needed = imposed || (abi.flags & MEDGEN_WINDOW_START_KNOWN) != 0;
    if ((needed && abi.known == nullptr) || (imposed && abi.known_mask == nullptr)) {
      object_->fail_defect("next", "gave a window that uses known values without giving them or their mask");
    }
    if (abi.known != nullptr) {
      window.known = copy_lent(*object_, *abi.known, "known");
      check_known("known", window.known, DType::F32, window_shape(window, true));
    }
    if (abi.known_mask != nullptr) {
      window.known_mask = copy_lent(*object_, *abi.known_mask, "known_mask");
      check_known("known_mask", window.known_mask, DType::U8, window_shape(window, false));
    }
  }

  void check_known(std::string_view name, const Tensor& tensor, DType dtype, const Shape& shape) const {
    if (tensor.dtype() == dtype && tensor.shape() == shape) return;
    object_->fail_defect("next", "gave '{}' as {} {}, {} {} expected", name, name_of(tensor.dtype()),
                         to_string(tensor.shape()), name_of(dtype), to_string(shape));
  }

  void read_conditions(const medgen_binds_t& binds, TensorMap& conditions) const {
    if (binds.count > kMaxConditions || (binds.count > 0 && binds.items == nullptr)) {
      object_->fail_defect("next", "claims {} conditions without listing them", binds.count);
    }
    for (std::uint32_t i = 0; i < binds.count; ++i) {
      const std::string name = message_text(binds.items[i].name);
      if (binds.items[i].tensor == nullptr) object_->fail_defect("next", "gave condition '{}' without a tensor", name);
      conditions[name] = copy_lent(*object_, *binds.items[i].tensor, name);
    }
  }

  std::shared_ptr<PluginObject> object_;
  std::int64_t channels_;
  Shape shape_;
  std::unique_ptr<medgen_obj_t, End> cover_;
  std::list<medgen_window_t> open_;  // as the plugin gave them: it gets the same pointers back
};

class PluginPropagator final : public Propagator, public PluginComponent {
 public:
  using PluginComponent::PluginComponent;

  std::unique_ptr<Cover> begin(const CallContext& context, const CoverRequest& request) override {
    return std::make_unique<PluginCover>(plugin_object(), context, request);
  }

  std::uint64_t count(const CoverRequest& request) const override {
    const auto slot = self().slot(&medgen_propagator_t::count);
    if (slot == nullptr) return 0;
    const AbiRequest abi(request);
    const auto held = self().lock();
    return call_plugin(self().name_of("count"), slot, self().get(), abi.get());
  }

 private:
  /// A cover is a conversation, not a function of tensors.
  std::vector<Function> functions() const override { return {}; }
};

}  // namespace

std::shared_ptr<Component> adapt_propagator(std::shared_ptr<PluginObject> object) {
  return std::make_shared<PluginPropagator>(std::move(object));
}

}  // namespace medgen
