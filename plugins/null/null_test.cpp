// SPDX-License-Identifier: Apache-2.0
// The null plugin as a host sees it: through its tables alone.
#include <medgen/abi/medgen.h>
#include <medgen/sdk/tensor.hpp>

#include <catch2/catch.hpp>
#include <cmath>
#include <list>
#include <map>
#include <string>
#include <vector>

using namespace medgen;

namespace {

/// A float32 tensor with its shape and strides.
struct Array {
  sdk::Shape shape, strides;
  std::vector<float> values;

  explicit Array(sdk::Shape of) : shape(std::move(of)), strides(shape.size(), 1) {
    for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    values.resize(static_cast<std::size_t>(sdk::TensorView(abi()).count()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) + 1;
  }

  medgen_tensor_t abi() {
    return {values.data(),
            {MEDGEN_DEVICE_CPU, 0},
            static_cast<std::int32_t>(shape.size()),
            sdk::kFloat32,
            shape.data(),
            strides.data(),
            0};
  }
};

/// The smallest host: keeps outputs and the last error text.
struct Host {
  std::map<std::string, Array> outputs;
  std::string error;
  int progress_left = 1000000;
  medgen_host_t services{};
  medgen_context_t context{};
  medgen_outputs_t sink{};

  static Host& of(medgen_hobj_t* host) { return *reinterpret_cast<Host*>(host); }

  Host() {
    services.struct_size = sizeof services;
    services.host = reinterpret_cast<medgen_hobj_t*>(this);
    services.set_error = [](medgen_hobj_t* host, medgen_status_t, medgen_str_t text) noexcept {
      of(host).error = std::string(sdk::from_abi(text));
    };
    services.progress = [](const medgen_context_t* call, medgen_str_t, std::uint64_t, std::uint64_t) noexcept {
      return of(call->host).progress_left-- > 0 ? 1 : 0;
    };
    services.fill_noise = [](const medgen_context_t*, std::int32_t, medgen_str_t, medgen_tensor_t* tensor) noexcept {
      static_cast<float*>(tensor->data)[0] = 7;
      return MEDGEN_OK;
    };
    context.struct_size = sizeof context;
    context.host = services.host;
    context.device = {MEDGEN_DEVICE_CPU, 0};
    sink.struct_size = sizeof sink;
    sink.host = services.host;
    sink.allocate = [](medgen_hobj_t* host, medgen_str_t name, medgen_dtype_t, std::int32_t ndim,
                       const std::int64_t* shape, const medgen_space_t*, medgen_tensor_t* out) noexcept {
      auto& slot = of(host)
                       .outputs.insert_or_assign(std::string(sdk::from_abi(name)), Array({shape, shape + ndim}))
                       .first->second;
      *out = slot.abi();
      return MEDGEN_OK;
    };
    REQUIRE(plugin().init(&services) == MEDGEN_OK);
  }

  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  ~Host() { plugin().shutdown(); }

  static const medgen_plugin_t& plugin() {
    const medgen_query_t query{sizeof query, MEDGEN_ABI_MAJOR, MEDGEN_ABI_MINOR, 0, nullptr};
    return *medgen_plugin_v1(&query);
  }
};

/// An object of one component; `table` is its interface.
template <typename Table>
struct Object {
  const medgen_component_desc_t* desc = nullptr;
  medgen_obj_t* self = nullptr;

  Object(std::string_view id, const std::string& config) {
    for (std::uint64_t i = 0; i < Host::plugin().component_count; ++i) {
      if (sdk::from_abi(Host::plugin().components[i]->id) == id) desc = Host::plugin().components[i];
    }
    REQUIRE(desc != nullptr);
    medgen_create_t create{};
    create.struct_size = sizeof create;
    create.config_json = sdk::to_abi(config);
    REQUIRE(desc->base->create(&create, &self) == MEDGEN_OK);
  }

  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  ~Object() { desc->base->destroy(self); }

  const Table* operator->() const { return static_cast<const Table*>(desc->interface); }
};

medgen_status_t call(Host& host, medgen_compute_fn function, medgen_obj_t* self, const char* name, Array& tensor) {
  const medgen_tensor_t view = tensor.abi();
  const medgen_bind_t bind{sdk::to_abi(name), &view, nullptr};
  const medgen_binds_t binds{sizeof binds, 1, &bind, sdk::to_abi(R"({"batch": 2})")};
  host.outputs.clear();
  return function(&host.context, self, &binds, &host.sink);
}

/// Covers 11 slices of 2x1x3; every window's result is its own start plus one everywhere.
std::vector<float> cover(Host& host, const std::string& config, std::vector<std::int64_t>* starts = nullptr) {
  const Object<medgen_propagator_t> object("null.propagator", config);
  const std::int64_t shape[] = {11, 1, 3};
  const medgen_cover_request_t request{sizeof request, 3, 2, shape, nullptr, nullptr};
  medgen_obj_t* state = nullptr;
  REQUIRE(object->begin(&host.context, object.self, &request, &state) == MEDGEN_OK);
  std::uint64_t windows = 0;
  for (;; ++windows) {
    medgen_window_t window{};
    window.struct_size = sizeof window;
    std::int32_t done = 0;
    REQUIRE(object->next(&host.context, object.self, state, &window, &done) == MEDGEN_OK);
    if (done != 0) break;
    if (starts != nullptr) starts->push_back(window.origin[0]);
    Array result({2, window.extent[0], 1, 3});
    std::fill(result.values.begin(), result.values.end(), static_cast<float>(window.origin[0] + 1));
    if (window.known != nullptr) {
      CHECK(window.known_rule == MEDGEN_KNOWN_CLEAN);
      const auto known = sdk::TensorView(*window.known).values<float>();
      const auto mask = sdk::TensorView(*window.known_mask).values<std::uint8_t>();
      for (std::size_t i = 0; i < known.size(); ++i) {
        if (mask[i % mask.size()] != 0) result.values[i] = known[i];
      }
    }
    const medgen_tensor_t view = result.abi();
    REQUIRE(object->accept(&host.context, object.self, state, &window, &view) == MEDGEN_OK);
  }
  CHECK(object->count(object.self, &request) == windows);
  host.outputs.clear();
  REQUIRE(object->finish(&host.context, object.self, state, &host.sink) == MEDGEN_OK);
  object->end(object.self, state);
  CHECK(host.outputs.at("x").shape == sdk::Shape{2, 11, 1, 3});
  return host.outputs.at("x").values;
}

}  // namespace

TEST_CASE("null: refuses another major version", "[unit][null]") {
  const medgen_query_t query{sizeof query, 2, 0, 0, nullptr};
  CHECK(medgen_plugin_v1(&query) == nullptr);
  CHECK(medgen_plugin_v1(nullptr) == nullptr);
}

TEST_CASE("null.denoiser: multiplies", "[unit][null]") {
  Host host;
  const Object<medgen_denoiser_t> object("null.denoiser", R"({"scale": -2.5, "fail": "", "mode": "ok"})");
  Array x({1, 2, 3});
  REQUIRE(call(host, object->predict, object.self, "x", x) == MEDGEN_OK);
  CHECK(host.outputs.at("out").values[5] == -15.0F);
}

TEST_CASE("null: every mode misbehaves as it says, in the named function only", "[unit][null]") {
  Host host;
  Array x({1, 2, 3});
  const auto predict = [&](const std::string& mode) {
    const Object<medgen_denoiser_t> object("null.denoiser",
                                           R"({"fail":"predict","slow_ms":30,"mode":")" + mode + R"("})");
    return call(host, object->predict, object.self, "x", x);
  };
  CHECK(predict("fail") == MEDGEN_E_INTERNAL);
  CHECK_THAT(host.error, Catch::Contains("predict fails"));
  CHECK(predict("bad-status") == -12345);
  CHECK(predict("no-output") == MEDGEN_OK);
  CHECK(host.outputs.empty());
  CHECK(predict("garbage-shape") == MEDGEN_OK);
  CHECK(host.outputs.at("out").shape == sdk::Shape{1, 2});
  CHECK(predict("nan") == MEDGEN_OK);
  CHECK(std::isnan(host.outputs.at("out").values[0]));
  CHECK(predict("slow") == MEDGEN_OK);
  CHECK(host.outputs.at("out").values[1] == 2.0F);
  host.progress_left = 1;
  CHECK(predict("slow") == MEDGEN_E_CANCELLED);
  const Object<medgen_denoiser_t> other("null.denoiser", R"({"fail": "encode", "mode": "fail"})");
  CHECK(call(host, other->predict, other.self, "x", x) == MEDGEN_OK);
}

TEST_CASE("null: what it cannot read is an error with a text", "[unit][null]") {
  Host host;
  const Object<medgen_denoiser_t> object("null.denoiser", "{}");
  Array x({2, 3});
  CHECK(call(host, object->predict, object.self, "y", x) == MEDGEN_E_NOT_FOUND);
  CHECK_THAT(host.error, Catch::Contains("'x'"));
  std::swap(x.strides[0], x.strides[1]);
  CHECK(call(host, object->predict, object.self, "x", x) == MEDGEN_E_UNSUPPORTED);
  const Object<medgen_compressor_t> compressor("null.compressor", R"({"factor": 2})");
  Array odd({1, 1, 4, 3});
  CHECK(call(host, compressor->encode, compressor.self, "x", odd) == MEDGEN_E_INVALID);
  CHECK_THAT(host.error, Catch::Contains("not a multiple of 2"));
}

TEST_CASE("null.compressor: encode averages, decode repeats", "[unit][null]") {
  Host host;
  const Object<medgen_compressor_t> object("null.compressor", R"({"factor": 2})");
  Array x({1, 2, 4, 2, 2});
  REQUIRE(call(host, object->encode, object.self, "x", x) == MEDGEN_OK);
  Array mean = host.outputs.at("mean");
  CHECK(mean.shape == sdk::Shape{1, 2, 2, 1, 1});
  CHECK(mean.values == std::vector<float>{4.5F, 12.5F, 20.5F, 28.5F});
  REQUIRE(call(host, object->decode, object.self, "z", mean) == MEDGEN_OK);
  Array back = host.outputs.at("x");
  CHECK(back.shape == x.shape);
  CHECK(back.values[7] == 4.5F);
  CHECK(back.values[8] == 12.5F);
  REQUIRE(call(host, object->encode, object.self, "x", back) == MEDGEN_OK);
  CHECK(host.outputs.at("mean").values == mean.values);
}

TEST_CASE("null.compressor: the prior is noise of the host", "[unit][null]") {
  Host host;
  const Object<medgen_compressor_t> object("null.compressor", R"({"prior_size": 3})");
  Array unused({1});
  REQUIRE(call(host, object->prior, object.self, "unused", unused) == MEDGEN_OK);
  CHECK(host.outputs.at("z").shape == sdk::Shape{2, 1, 3, 3, 3});
  CHECK(host.outputs.at("z").values[0] == 7.0F);
}

TEST_CASE("null.conditioner: gives the mask on, or nothing", "[unit][null]") {
  Host host;
  const Object<medgen_conditioner_t> object("null.conditioner", "{}");
  Array mask({1, 1, 4});
  REQUIRE(call(host, object->encode, object.self, "mask", mask) == MEDGEN_OK);
  CHECK(host.outputs.at("mask").values == mask.values);
  host.context.flags = MEDGEN_CALL_UNCONDITIONAL;
  REQUIRE(call(host, object->encode, object.self, "mask", mask) == MEDGEN_OK);
  CHECK(host.outputs.at("mask").values == std::vector<float>(4, 0.0F));
}

TEST_CASE("null.scheduler: ends at the denoiser's output, and follows a perfect one", "[unit][null]") {
  Host host;
  const Object<medgen_scheduler_t> object("null.scheduler", "{}");
  const std::uint32_t steps = GENERATE(1u, 4u);
  const medgen_schedule_request_t request{sizeof request, steps, 1.0, nullptr, 0, nullptr, 0};
  medgen_obj_t* run = nullptr;
  REQUIRE(object->begin(object.self, &request, &run) == MEDGEN_OK);
  double x = -1.5;
  for (std::uint64_t i = 0; i < steps; ++i) {
    medgen_update_t update{};
    update.struct_size = sizeof update;
    REQUIRE(object->update(object.self, run, i, &update) == MEDGEN_OK);
    x = update.x * x + update.x0 * 0.25;
    const double left = 1 - (static_cast<double>(i) + 1) / steps;
    CHECK(x == Approx((1 - left) * 0.25 + left * -1.5));
  }
  medgen_update_t update{};
  update.struct_size = sizeof update;
  CHECK(object->update(object.self, run, steps, &update) == MEDGEN_E_INVALID);
  object->end(object.self, run);
  const medgen_schedule_request_t none{sizeof none, 0, 1.0, nullptr, 0, nullptr, 0};
  CHECK(object->begin(object.self, &none, &run) == MEDGEN_E_INVALID);
}

TEST_CASE("null.propagator: windows without overlap cover everything once", "[unit][null]") {
  Host host;
  std::vector<std::int64_t> starts;
  const std::vector<float> values = cover(host, R"({"window": 4})", &starts);
  CHECK(starts == std::vector<std::int64_t>{0, 4, 7});
  CHECK(values[0] == 1.0F);
  CHECK(values[10 * 3] == 8.0F);
}

TEST_CASE("null.propagator: known slices keep their values", "[unit][null]") {
  Host host;
  std::vector<std::int64_t> starts;
  const std::vector<float> values = cover(host, R"({"window": 4, "overlap": 2})", &starts);
  CHECK(starts == std::vector<std::int64_t>{0, 2, 4, 6, 7});
  const std::vector<float> expected{1, 1, 1, 1, 3, 3, 5, 5, 7, 7, 8};
  for (std::size_t slice = 0; slice < 11; ++slice) CHECK(values[slice * 3] == expected[slice]);
  CHECK(cover(host, R"({"window": 100, "overlap": 3})") == std::vector<float>(66, 1.0F));
}

TEST_CASE("null.propagator: asks for things in the right order", "[unit][null]") {
  Host host;
  const Object<medgen_propagator_t> object("null.propagator", R"({"window": 4, "overlap": 1})");
  const std::int64_t shape[] = {11};
  const medgen_cover_request_t request{sizeof request, 1, 2, shape, nullptr, nullptr};
  medgen_obj_t* state = nullptr;
  REQUIRE(object->begin(&host.context, object.self, &request, &state) == MEDGEN_OK);
  medgen_window_t window{};
  window.struct_size = sizeof window;
  std::int32_t done = 0;
  CHECK(object->finish(&host.context, object.self, state, &host.sink) == MEDGEN_E_STATE);
  CHECK(object->next(&host.context, object.self, state, &window, &done) == MEDGEN_OK);
  CHECK(object->next(&host.context, object.self, state, &window, &done) == MEDGEN_E_STATE);
  object->end(object.self, state);
  const std::int64_t huge[] = {INT64_MAX / 2, 16};
  const medgen_cover_request_t impossible{sizeof impossible, 2, 4, huge, nullptr, nullptr};
  CHECK(object->begin(&host.context, object.self, &impossible, &state) == MEDGEN_E_INVALID);
}

TEST_CASE("null: a broken config never leads out of bounds", "[unit][null]") {
  Host host;
  const std::string good = R"({"scale": 2.5e0, "fail": "a\"b", "mode": "ok", "slow_ms": -})";
  for (std::size_t length = 0; length <= good.size(); ++length) {
    const std::vector<char> exact(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length));
    const Object<medgen_denoiser_t> object("null.denoiser", std::string(exact.begin(), exact.end()));
    Array x({1});
    CHECK(call(host, object->predict, object.self, "x", x) == MEDGEN_OK);
  }
}

namespace {

std::string estimated(const std::string& config) {
  const Host host;  // before the object: it takes errors
  const Object<medgen_denoiser_t> object("null.denoiser", config);
  std::string text;
  medgen_writer_t writer{};
  writer.struct_size = sizeof writer;
  writer.host = reinterpret_cast<medgen_hobj_t*>(&text);
  writer.write = [](medgen_hobj_t* sink, const void* bytes, std::uint64_t n) noexcept -> std::int64_t {
    reinterpret_cast<std::string*>(sink)->append(static_cast<const char*>(bytes), n);
    return static_cast<std::int64_t>(n);
  };
  const medgen_status_t status = object.desc->base->estimate(object.self, sdk::to_abi(std::string_view("{}")), &writer);
  return status == MEDGEN_OK ? text : "failed";
}

}  // namespace

TEST_CASE("null: estimate says what the config says, or fails as it says", "[unit][null]") {
  CHECK_THAT(estimated(R"({"peak_bytes": 3000000000, "flops": 5})"), Catch::Contains("\"peak_bytes\": 3000000000"));
  CHECK(estimated(R"({"estimate": "garbage"})") == "garbage");
  CHECK(estimated(R"({"fail": "estimate", "mode": "fail"})") == "failed");
  CHECK(estimated(R"({"fail": "estimate", "mode": "no-output"})").empty());
}
