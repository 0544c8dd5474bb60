// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <medgen/sdk/context.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The module system of our networks: published parameter names, strict loading, explicit precision. Every forward is
// made of plain ATen operators, so it runs under at::NoGradGuard for inference and under autograd for training.

namespace medgen::nn {

using Shape = std::vector<int64_t>;

/// How Module::initialize fills a parameter: mean everywhere, mean + U(-scale, scale) or N(mean, scale^2).
struct Init {
  enum class Kind { Constant, Uniform, Normal };
  Kind kind = Kind::Constant;
  double scale = 0;
  double mean = 0;

  static Init ones() { return {Kind::Constant, 0, 1}; }
};

/// What a tensor of the state dict is for.
enum class Role {
  Compute,  ///< weight or bias of a convolution or product on activations: follows Module::set_precision
  Wide,     ///< the same where few digits are to be lost: float32 where the CPU computes it in that (nn/wide_conv.h)
  Exact,    ///< normalisation gains, time and condition embeddings: always float32
  Buffer,   ///< running statistics: never trained, always in its own type
};

struct Parameter {
  std::string name;  ///< within its module
  Shape shape;
  Init init;
  Role role = Role::Compute;
  at::ScalarType dtype = at::kFloat;
  at::Tensor value;  ///< undefined until load() or initialize()

  bool trainable() const { return role != Role::Buffer; }

  int64_t numel() const;
};

/// The type in which parameters of that role, no buffers, are stored for inference on `device` with activations of type
/// `compute`.
at::ScalarType stored_type(Role role, at::ScalarType compute, at::Device device);

/// A parameter under its full published name, e.g. "down_blocks.0.resnets.1.conv1.conv.weight".
struct NamedParameter {
  std::string name;
  Parameter* parameter = nullptr;
};

/// Where weights come from. `tensor` may lend memory (a mapped file): loading copies.
struct WeightSource {
  std::vector<std::string> names;
  std::function<at::Tensor(const std::string&)> tensor;
};

/// Base of layers, blocks and networks: a tree that owns its parameters and children. Neither copied nor moved.
/// Thread: forward of one module may run on many threads; everything that changes it on one.
class Module {
 public:
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  /// Makes a child of type M under `name`, which may contain dots, or be empty for one that adds nothing to the names.
  /// Children and parameters keep the order of their
  /// making, as in a published state dict.
  template <typename M, typename... Args>
  M& add(std::string name, Args&&... args) {
    auto child = std::make_unique<M>(std::forward<Args>(args)...);
    M& reference = *child;
    static_cast<Module&>(reference).parent_ = this;
    static_cast<Module&>(reference).name_ = name;
    children_.push_back({std::move(name), std::move(child)});
    return reference;
  }

  /// All parameters and buffers, in the published order: a module's own first, then its children's.
  std::vector<NamedParameter> parameters();

  /// Elements of all trainable parameters; needs no weights.
  int64_t parameter_count();

  /// Takes every parameter from `source`, copied to the CPU in the precision that set_precision asked for (float32 if
  /// never). Strict: a missing or unexpected name, a wrong shape or a type that is not floating point is an error that
  /// lists them all, and leaves the module as it was. Names for which `ignores` is true may be there.
  /// @throws InvalidInput
  void load(const WeightSource& source);

  /// Fills every parameter as the published constructor would (PyTorch defaults and the method's zero starts). A
  /// function of (seed, parameter name) alone: the same for any thread count or machine.
  void initialize(uint64_t seed);

  /// Activations take `compute` (float32, bfloat16 or float16), and compute parameters are stored, cast once, in what
  /// `device` multiplies then (nn/products.h); statistics, softmax, time and condition embeddings stay float32. For
  /// inference: gradients want set_compute_dtype.
  void set_precision(at::ScalarType compute, at::Device device = at::kCPU);

  /// Activations take `compute`, parameters stay float32 and are cast at each use, so that gradients reach the float32
  /// ones.
  void set_compute_dtype(at::ScalarType compute);

  at::ScalarType compute_dtype() const { return compute_dtype_; }

  /// Moves all parameters.
  void to(at::Device device);

  /// Training mode: batch statistics and dropout. Off when made.
  void train(bool on);

  bool training() const { return training_; }

  /// Whether blocks compute their inner tensors again on the way back instead of keeping them (nn/checkpoint.h). Off
  /// when made.
  void checkpoint_activations(bool on);

  bool checkpoints_activations() const { return checkpoints_activations_; }

  /// The published name, "down_blocks.0.resnets.1"; "" for a network.
  std::string path() const;

 protected:
  /// Stands for this layer in traces and profilers as long as it lives; the first line of a layer's forward.
  sdk::Range range() const { return sdk::Range(path()); }

  /// Declares a parameter; the reference stays valid as long as the module, its value is set by load or initialize.
  const at::Tensor& add_parameter(std::string name, Shape shape, Init init, Role role = Role::Compute,
                                  at::ScalarType dtype = at::kFloat);

 private:
  /// Names that a published file of this network may hold although nothing uses them.
  virtual bool ignores(std::string_view /*name*/) const { return false; }

  void collect(const std::string& prefix, std::vector<NamedParameter>& out);
  void for_each_module(const std::function<void(Module&)>& visit);

  struct Child {
    std::string name;
    std::unique_ptr<Module> module;
  };

  const Module* parent_ = nullptr;
  std::string name_;  // within the parent
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<Child> children_;
  at::ScalarType compute_dtype_ = at::kFloat;  // of activations
  at::ScalarType stored_dtype_ = at::kFloat;   // of compute parameters; read at the root
  at::ScalarType wide_dtype_ = at::kFloat;     // of wide ones
  bool training_ = false;
  bool checkpoints_activations_ = false;
};

/// Copies every tensor of `from` whose name and shape also occur in `to` (how a ControlNet starts from its U-Net).
/// Returns how many were copied. Both must hold weights.
int64_t copy_matching_parameters(Module& from, Module& to);

}  // namespace medgen::nn
