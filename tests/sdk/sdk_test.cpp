// SPDX-License-Identifier: Apache-2.0
// The SDK between a plugin's classes and the tables a host sees.
#include <medgen/sdk/draft/preview.hpp>
#include <medgen/sdk/draft/train.hpp>
#include <medgen/sdk/sdk.hpp>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <new>
#include <string>
#include <vector>

using namespace medgen;

namespace {

/// Remembers what the plugin tells the host.
struct Host {
  std::string error, written;
  int go_on = 1;
  medgen_host_t table{};

  static Host& of(medgen_hobj_t* host) { return *reinterpret_cast<Host*>(host); }

  Host() {
    table.struct_size = sizeof table;
    table.host = reinterpret_cast<medgen_hobj_t*>(this);
    table.set_error = [](medgen_hobj_t* host, medgen_status_t, medgen_str_t text) noexcept {
      of(host).error = std::string(sdk::from_abi(text));
    };
    table.progress = [](const medgen_context_t* call, medgen_str_t, std::uint64_t, std::uint64_t) noexcept {
      return of(call->host).go_on;
    };
    sdk::detail::host_pointer = &table;
  }

  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  ~Host() { sdk::detail::host_pointer = nullptr; }

  medgen_context_t call() const {
    medgen_context_t context{};
    context.struct_size = sizeof context;
    context.host = table.host;
    return context;
  }
};

/// Every optional part; `create` throws what the config names.
struct Full {
  static constexpr std::string_view id = "test.full";
  static constexpr std::string_view summary = "All there is.";
  static constexpr std::string_view train_options_schema = "{}";
  static constexpr std::uint32_t flags = MEDGEN_BITWISE;

  static constexpr std::string_view config_schema() { return R"({"type": "object"})"; }

  struct Foreign : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  struct Trainer {
    Full* owner;
    double rate = 0;

    void step(const sdk::Context&, const sdk::Binds& batch, sdk::Outputs&) { batch.tensor("x"); }

    void apply(const sdk::Context&, double learning_rate) { rate = learning_rate; }

    void save(const sdk::Context&, std::uint32_t, const sdk::StateSink& to) const {
      float value = static_cast<float>(rate);
      std::int64_t one = 1;
      to.put("rate", {&value, {MEDGEN_DEVICE_CPU, 0}, 1, sdk::kFloat32, &one, &one, 0});
    }

    void load(const sdk::Context&, std::uint32_t, const sdk::StateSource& from) {
      rate = static_cast<const float*>(from.get("rate").address())[0];
    }
  };

  explicit Full(const sdk::Create& create) {
    if (create.config() == "error") throw sdk::invalid("gain is ", 3, ", 0 to 1 expected");
    if (create.config() == "memory") throw std::bad_alloc();
    if (create.config() == "foreign") throw Foreign("the device is full");
    if (create.config() == "number") throw 42;
  }

  static medgen_status_t status_of(const std::exception& error) noexcept {
    return dynamic_cast<const Foreign*>(&error) != nullptr ? MEDGEN_E_DEVICE : MEDGEN_E_INTERNAL;
  }

  std::string describe() const { return R"({"parameters": 3})"; }

  std::string estimate(std::string_view request) const { return std::string(request); }

  void trim(const sdk::Context&, int level) { trimmed = level; }

  void prepare(const sdk::Context&, const sdk::Binds&) {}

  void predict(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs&) {
    in.tensor("x").expect_shape({-1, 3}).values<float>();
    context.progress("predicting", 1, 2);
  }

  void render(const sdk::Context&, const sdk::Binds&, sdk::Outputs&) {}

  Trainer train(const sdk::Context&, std::string_view, std::span<const sdk::TrainPeer> peers) {
    return {peers.empty() ? this : &peers[0].as<Full>()};
  }

  void check_training(std::string_view options, std::span<const sdk::TrainPeer> peers) {
    if (options == "alone" && !peers.empty()) throw sdk::invalid("trains alone, not with ", peers[0].role);
  }

  static const void* extension(std::string_view id);

  int trimmed = 0;
};

const void* Full::extension(std::string_view extension_id) {
  if (extension_id == MEDGEN_TRAIN_1) return &sdk::train_table<Full>;
  return extension_id == MEDGEN_PREVIEW_1 ? &sdk::preview_table<Full> : nullptr;
}

/// Nothing optional.
struct Bare {
  static constexpr std::string_view id = "test.bare";
  static constexpr std::string_view summary = "The least there is.";
  static constexpr std::string_view config_schema = "{}";

  explicit Bare(const sdk::Create&) {}

  void decode(const sdk::Context&, const sdk::Binds&, sdk::Outputs&) {}
};

constexpr sdk::Plugin kPlugin{.id = "test", .version = "1.0.0", .vendor = "us", .license = "MIT", .summary = "A test."};

medgen_status_t create(const medgen_component_desc_t& desc, const std::string& config, medgen_obj_t** out) {
  medgen_create_t request{};
  request.struct_size = sizeof request;
  request.config_json = sdk::to_abi(config);
  return desc.base->create(&request, out);
}

struct Example {
  std::vector<float> values{1, 2, 3, 4, 5, 6};
  std::int64_t shape[2]{2, 3};
  std::int64_t strides[2]{3, 1};
  medgen_tensor_t tensor{values.data(), {MEDGEN_DEVICE_CPU, 0}, 2, sdk::kFloat32, shape, strides, 0};
  medgen_bind_t bind{sdk::to_abi("x"), &tensor, nullptr};
  medgen_binds_t binds{sizeof binds, 1, &bind, {nullptr, 0}};
};

}  // namespace

MEDGEN_PLUGIN(kPlugin, sdk::denoiser<Full>, sdk::compressor<Bare>)

TEST_CASE("sdk: the descriptor says what the classes say", "[unit][sdk]") {
  const medgen_query_t query{sizeof query, MEDGEN_ABI_MAJOR, 99, 0, nullptr};
  const medgen_plugin_t* plugin = medgen_plugin_v1(&query);
  REQUIRE(plugin != nullptr);
  CHECK(plugin->struct_size == sizeof(medgen_plugin_t));
  CHECK(sdk::from_abi(plugin->id) == "test");
  CHECK(sdk::from_abi(plugin->methods_json) == "{}");
  REQUIRE(plugin->component_count == 2);
  CHECK(sdk::from_abi(plugin->components[0]->kind) == MEDGEN_DENOISER_1);
  CHECK(sdk::from_abi(plugin->components[0]->config_schema_json) == R"({"type": "object"})");
  CHECK(sdk::from_abi(plugin->components[1]->io_json) == "{}");
  CHECK(plugin->components[0]->base->flags == MEDGEN_BITWISE);
}

TEST_CASE("sdk: what a class lacks is a NULL slot", "[unit][sdk]") {
  const medgen_component_t& bare = *sdk::compressor<Bare>.base;
  CHECK(
      (bare.describe == nullptr && bare.estimate == nullptr && bare.trim == nullptr && bare.get_extension == nullptr));
  const auto* table = static_cast<const medgen_compressor_t*>(sdk::compressor<Bare>.interface);
  CHECK((table->encode == nullptr && table->decode != nullptr && table->prior == nullptr));
  const medgen_component_t& full = *sdk::denoiser<Full>.base;
  CHECK(
      (full.describe != nullptr && full.estimate != nullptr && full.trim != nullptr && full.get_extension != nullptr));
  CHECK(full.get_extension("medgen.preview/1") != nullptr);
  CHECK(full.get_extension("medgen.preview/2") == nullptr);
}

TEST_CASE("sdk: whatever is thrown becomes a status, with the text at the host", "[unit][sdk]") {
  const Host host;
  medgen_obj_t* object = nullptr;
  CHECK(create(sdk::denoiser<Full>, "error", &object) == MEDGEN_E_INVALID);
  CHECK(host.error == "gain is 3, 0 to 1 expected");
  CHECK(create(sdk::denoiser<Full>, "memory", &object) == MEDGEN_E_OUT_OF_MEMORY);
  CHECK(create(sdk::denoiser<Full>, "foreign", &object) == MEDGEN_E_DEVICE);
  CHECK(host.error == "the device is full");
  CHECK(create(sdk::denoiser<Full>, "number", &object) == MEDGEN_E_INTERNAL);
  CHECK(object == nullptr);
  CHECK(sdk::guard([] { throw std::logic_error("a defect"); }) == MEDGEN_E_INTERNAL);
}

TEST_CASE("sdk: errors are reported without a host, too", "[unit][sdk]") {
  CHECK(sdk::guard([] { throw sdk::invalid("no"); }) == MEDGEN_E_INVALID);
  const medgen_context_t call{};
  CHECK_THROWS_AS(sdk::Context(call).scratch(1), sdk::Error);
  sdk::log(MEDGEN_LOG_INFO, "nobody hears it");
  CHECK(sdk::thread_count() == 1);
  std::vector<std::uint64_t> seen;
  sdk::parallel_for(3, [&](std::uint64_t i) { seen.push_back(i); });
  CHECK(seen == std::vector<std::uint64_t>{0, 1, 2});
}

TEST_CASE("sdk: an older host has fewer services", "[unit][sdk]") {
  Host host;
  host.table.struct_size = offsetof(medgen_host_t, progress);
  const medgen_context_t call = host.call();
  host.go_on = 0;
  sdk::Context(call).progress("unheard", 1, 2);
  CHECK_THROWS_WITH(sdk::Context(call).scratch(1), Catch::Contains("offers no scratch"));
}

TEST_CASE("sdk: calls reach the object, and are checked on the way", "[unit][sdk]") {
  Host host;
  medgen_obj_t* object = nullptr;
  REQUIRE(create(sdk::denoiser<Full>, "", &object) == MEDGEN_OK);
  const auto* table = static_cast<const medgen_denoiser_t*>(sdk::denoiser<Full>.interface);
  const medgen_context_t call = host.call();
  const medgen_outputs_t out{};
  Example in;
  CHECK(table->predict(&call, object, &in.binds, &out) == MEDGEN_OK);
  host.go_on = 0;
  CHECK(table->predict(&call, object, &in.binds, &out) == MEDGEN_E_CANCELLED);
  in.shape[1] = 2;
  CHECK(table->predict(&call, object, &in.binds, &out) == MEDGEN_E_INVALID);
  CHECK(host.error == "x has shape 2x2, expected -1x3 (-1 is any size)");
  in.bind.name = sdk::to_abi("y");
  CHECK(table->predict(&call, object, &in.binds, &out) == MEDGEN_E_NOT_FOUND);
  CHECK(host.error == "input 'x' is missing; given: y");
  in.binds.count = 0;
  CHECK(table->predict(&call, object, &in.binds, &out) == MEDGEN_E_NOT_FOUND);
  CHECK(host.error == "input 'x' is missing; given: nothing");
  const medgen_component_t& base = *sdk::denoiser<Full>.base;
  CHECK(base.trim(&call, object, 2) == MEDGEN_OK);
  CHECK(sdk::detail::object<Full>(object).trimmed == 2);
  base.destroy(object);
}

TEST_CASE("sdk: texts go through writers that take a few bytes at a time", "[unit][sdk]") {
  Host host;
  medgen_obj_t* object = nullptr;
  REQUIRE(create(sdk::denoiser<Full>, "", &object) == MEDGEN_OK);
  medgen_writer_t writer{sizeof writer, 0, host.table.host, nullptr};
  writer.write = [](medgen_hobj_t* to, const void* bytes, std::uint64_t n) noexcept {
    const std::uint64_t taken = n < 3 ? n : 3;
    Host::of(to).written.append(static_cast<const char*>(bytes), taken);
    return static_cast<std::int64_t>(taken);
  };
  CHECK(sdk::denoiser<Full>.base->describe(object, &writer) == MEDGEN_OK);
  CHECK(host.written == R"({"parameters": 3})");
  writer.write = [](medgen_hobj_t*, const void*, std::uint64_t) noexcept -> std::int64_t { return 0; };
  CHECK(sdk::denoiser<Full>.base->describe(object, &writer) == MEDGEN_E_IO);
  writer.write = [](medgen_hobj_t*, const void*, std::uint64_t) noexcept -> std::int64_t { return MEDGEN_E_CANCELLED; };
  CHECK(sdk::denoiser<Full>.base->estimate(object, sdk::to_abi("{}"), &writer) == MEDGEN_E_CANCELLED);
  sdk::denoiser<Full>.base->destroy(object);
}

TEST_CASE("sdk: tensors are read by type, shape and stride", "[unit][sdk]") {
  Example in;
  const sdk::TensorView x(in.tensor, "x");
  CHECK(x.size(-1) == 3);
  CHECK_THROWS_WITH(x.size(2), Catch::Contains("no axis 2"));
  CHECK_THROWS_WITH(x.values<double>(), Catch::Contains("x is float32, expected float64"));
  CHECK(x.to_vector<int>() == std::vector<int>{1, 2, 3, 4, 5, 6});
  std::swap(in.shape[0], in.shape[1]);
  std::swap(in.strides[0], in.strides[1]);
  CHECK_THROWS_WITH(x.values<float>(), Catch::Contains("strided"));
  CHECK(x.to_vector<double>() == std::vector<double>{1, 4, 2, 5, 3, 6});
  in.tensor.byte_offset = sizeof(float);
  in.tensor.ndim = 1;
  in.shape[0] = 2;
  CHECK(sdk::TensorView(in.tensor).to_vector<float>() == std::vector<float>{2, 3});
  in.tensor.device.type = MEDGEN_DEVICE_CUDA;
  CHECK_THROWS_WITH(sdk::TensorView(in.tensor).to_vector<float>(), Catch::Contains("on a device"));
}

TEST_CASE("sdk: 16 bit floats are read exactly", "[unit][sdk]") {
  std::uint16_t bits[]{0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000};
  std::int64_t shape[]{5}, strides[]{1};
  const medgen_tensor_t half{bits, {MEDGEN_DEVICE_CPU, 0}, 1, sdk::kFloat16, shape, strides, 0};
  CHECK(sdk::TensorView(half).to_vector<float>() == std::vector<float>{1, -2, 0x1p-24F, 65504, 0});
  const medgen_tensor_t brain{bits, {MEDGEN_DEVICE_CPU, 0}, 1, sdk::kBFloat16, shape, strides, 0};
  CHECK(sdk::TensorView(brain).to_vector<float>()[1] == -2.0F);
  const medgen_tensor_t odd{bits, {MEDGEN_DEVICE_CPU, 0}, 1, {9, 4, 1}, shape, strides, 0};
  CHECK_THROWS_AS(sdk::TensorView(odd).to_vector<float>(), sdk::Error);
}

namespace {

/// A training of an object that is its own peer.
struct Training {
  Host host;
  medgen_context_t call = host.call();
  medgen_obj_t* object = created();
  const medgen_train_t& table =
      *static_cast<const medgen_train_t*>(sdk::denoiser<Full>.base->get_extension(MEDGEN_TRAIN_1));
  medgen_train_peer_t peer{sdk::to_abi("unet"), object, 1, 0};

  Training() = default;
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  ~Training() { sdk::denoiser<Full>.base->destroy(object); }

 private:
  static medgen_obj_t* created() {
    medgen_obj_t* object = nullptr;
    REQUIRE(create(sdk::denoiser<Full>, "", &object) == MEDGEN_OK);
    return object;
  }
};

}  // namespace

TEST_CASE("sdk: what a training would refuse is asked of the object and its peers", "[unit][sdk]") {
  const Training t;
  REQUIRE(MEDGEN_HAS_FN(medgen_train_t, &t.table, check));
  CHECK(t.table.draft == MEDGEN_TRAIN_DRAFT);
  CHECK(t.table.check(&t.call, t.object, sdk::to_abi("{}"), 1, 0, &t.peer) == MEDGEN_OK);
  CHECK(t.table.check(&t.call, t.object, sdk::to_abi("alone"), 0, 0, nullptr) == MEDGEN_OK);
  CHECK(t.table.check(&t.call, t.object, sdk::to_abi("alone"), 1, 0, &t.peer) == MEDGEN_E_INVALID);
}

TEST_CASE("sdk: a trainer is made from the object or its peer", "[unit][sdk]") {
  const Training t;
  medgen_obj_t* trainer = nullptr;
  REQUIRE(t.table.begin(&t.call, t.object, sdk::to_abi("{}"), 1, 0, &t.peer, &trainer) == MEDGEN_OK);
  CHECK(t.table.apply(&t.call, trainer, 1e-3) == MEDGEN_OK);
  CHECK(sdk::detail::object<Full::Trainer>(trainer).rate == 1e-3);
  CHECK(sdk::detail::object<Full::Trainer>(trainer).owner == &sdk::detail::object<Full>(t.object));
  const medgen_binds_t none{sizeof none, 0, nullptr, {nullptr, 0}};
  const medgen_outputs_t out{};
  CHECK(t.table.step(&t.call, trainer, &none, &out) == MEDGEN_E_NOT_FOUND);
  t.table.end(trainer);
}

TEST_CASE("sdk: a trainer's state passes tensor by tensor, and the host's errors come back", "[unit][sdk]") {
  const Training t;
  medgen_obj_t* trainer = nullptr;
  REQUIRE(t.table.begin(&t.call, t.object, sdk::to_abi("{}"), 1, 0, &t.peer, &trainer) == MEDGEN_OK);
  REQUIRE(t.table.apply(&t.call, trainer, 0.25) == MEDGEN_OK);
  float kept = 0;
  medgen_state_sink_t sink{sizeof sink, 0, reinterpret_cast<medgen_hobj_t*>(&kept), nullptr};
  sink.put = [](medgen_hobj_t* host, medgen_str_t name, const medgen_tensor_t* tensor) noexcept {
    CHECK(sdk::from_abi(name) == "rate");
    *reinterpret_cast<float*>(host) = *static_cast<const float*>(tensor->data);
    return medgen_status_t{MEDGEN_OK};
  };
  CHECK(t.table.save(&t.call, trainer, MEDGEN_TRAIN_WEIGHTS, &sink) == MEDGEN_OK);
  CHECK(kept == 0.25F);
  sink.put = [](medgen_hobj_t*, medgen_str_t, const medgen_tensor_t*) noexcept { return medgen_status_t{MEDGEN_E_IO}; };
  CHECK(t.table.save(&t.call, trainer, MEDGEN_TRAIN_WEIGHTS, &sink) == MEDGEN_E_IO);

  std::array<float, 1> stored = {0.5F};
  medgen_state_source_t source{sizeof source, 0, reinterpret_cast<medgen_hobj_t*>(stored.data()), nullptr};
  source.get = [](medgen_hobj_t* host, medgen_str_t, medgen_tensor_t* out) noexcept {
    static std::int64_t one = 1;
    *out = {reinterpret_cast<float*>(host), {MEDGEN_DEVICE_CPU, 0}, 1, sdk::kFloat32, &one, &one, 0};
    return medgen_status_t{MEDGEN_OK};
  };
  CHECK(t.table.load(&t.call, trainer, MEDGEN_TRAIN_WEIGHTS, &source) == MEDGEN_OK);
  CHECK(sdk::detail::object<Full::Trainer>(trainer).rate == 0.5);
  source.get = [](medgen_hobj_t*, medgen_str_t, medgen_tensor_t*) noexcept {
    return medgen_status_t{MEDGEN_E_NOT_FOUND};
  };
  CHECK(t.table.load(&t.call, trainer, MEDGEN_TRAIN_WEIGHTS, &source) == MEDGEN_E_NOT_FOUND);
  CHECK_THAT(t.host.error, Catch::Matchers::Contains("'rate' is missing"));
  t.table.end(trainer);
}
