// SPDX-License-Identifier: Apache-2.0
#pragma GCC diagnostic ignored "-Wrestrict"  // false alarm of GCC 12 for "literal" + std::string (PR 105651)

#include "core/weights/state.h"

#include "core/weights/safetensors.h"
#include "core/weights/test_files.h"

#include <catch2/catch.hpp>

#include <array>

using namespace medgen;
using namespace medgen::test;
using Catch::Matchers::Contains;

namespace {

std::vector<double> numbers(const Tensor& tensor) {
  const Tensor doubles = tensor.to(DType::F64);
  return {doubles.values<double>().begin(), doubles.values<double>().end()};
}

std::string error_of(const std::filesystem::path& path, const LoadOptions& options = {}) {
  return data_error([&] { load_state(path, options); });
}

void check_state_dict(const State& state) {
  REQUIRE(state.tensors.size() == 3);
  CHECK(state.tensors.at("conv.weight").shape() == Shape{2, 3});
  CHECK(state.tensors.at("conv.weight").dtype() == DType::F32);
  CHECK(numbers(state.tensors.at("conv.weight")) == std::vector<double>{0, 0.5, 1, 1.5, 2, 2.5});
  CHECK(numbers(state.tensors.at("conv.bias")) == std::vector<double>{-1, 1});
  CHECK(state.tensors.at("norm.count").dtype() == DType::I64);
  CHECK(numbers(state.tensors.at("norm.count")) == std::vector<double>{41});
}

/// A torch zip file with this pickle and these storages.
std::string torch_zip(const std::string& pickle, const std::vector<ZipItem>& more = {}) {
  std::vector<ZipItem> items{{"archive/data.pkl", pickle}};
  items.insert(items.end(), more.begin(), more.end());
  return make_zip(items);
}

/// {"w": a tensor over storage '0' of `declared` floats}
std::string one_tensor(const std::string& size, const std::string& stride, char declared = 6) {
  std::string pickle = "}X";
  pickle += raw<std::uint32_t>(1) + "wctorch._utils\n_rebuild_tensor_v2\n((X" + raw<std::uint32_t>(7) +
            "storagectorch\nFloatStorage\nX" + raw<std::uint32_t>(1) + "0X" + raw<std::uint32_t>(3) + "cpuK" +
            declared + "tQK" + std::string(1, '\0') + size + stride + "\x89}tRs.";
  return pickle;
}

}  // namespace

TEST_CASE("load_state: the same dict from every way torch writes it", "[golden][weights]") {
  for (const char* name :
       {"state_dict.pt", "protocol_1.pt", "legacy.pt", "legacy_protocol_1.pt", "deflated.pt", "no_checksums.pt"}) {
    INFO(name);
    const State state = load_state(fixture(name));
    check_state_dict(state);
    CHECK(state.key == ".");
    CHECK(state.stripped_prefix.empty());
    CHECK(state.format == (std::string_view(name).starts_with("legacy") ? "torch legacy" : "torch zip"));
  }
}

TEST_CASE("load_state: a file is known by its content, not its name", "[unit][weights]") {
  const TemporaryFile torch(read_all(fixture("legacy.pt")));
  check_state_dict(load_state(torch.path()));
  const TemporaryFile safetensors(read_all(fixture("reference.safetensors")));
  const State state = load_state(safetensors.path());
  CHECK(state.format == "safetensors");
  CHECK(state.tensors.size() == 15);
  CHECK(state.number("scale_factor") == 1.5);
  CHECK(std::get<std::string>(state.scalars.at("note")) == "hello");
}

TEST_CASE("load_state: the one state dict of a checkpoint is found, with the numbers beside it", "[golden][weights]") {
  for (const char* name : {"nested.pt", "protocol_4.pt", "legacy_nested.pth"}) {
    INFO(name);
    const State state = load_state(fixture(name));
    check_state_dict(state);
    CHECK(state.key == "unet_state_dict");
    CHECK(std::get<std::int64_t>(state.scalars.at("epoch")) == 7);
    CHECK(state.number("loss") == 0.25);
    CHECK(state.number("num_train_timesteps") == 1000);
    CHECK(state.number("scale_factor") == 1.5);
    CHECK(std::get<std::string>(state.scalars.at("note")) == "best");
    CHECK(state.skipped == std::vector<std::string>{"optimizer (dict of 2)"});
    CHECK_FALSE(state.number("absent").has_value());
    CHECK_THROWS_AS(state.number("note"), DataError);
  }
}

TEST_CASE("load_state: a MetaTensor is the number it wraps", "[golden][weights]") {
  const State state = load_state(fixture("metatensor.pt"));
  CHECK(state.key == "unet_state_dict");
  CHECK(state.tensors.at("weight").shape() == Shape{2, 2});
  CHECK(state.number("scale_factor").value() == Approx(1.02984).epsilon(1e-5));
}

TEST_CASE("load_state: so is one with the enums of MONAI, as Python 3.11 stores them", "[golden][weights]") {
  const State state = load_state(fixture("metatensor_enums.pt"));
  check_state_dict(state);
  CHECK(state.number("scale_factor").value() == Approx(1.0389).epsilon(1e-6));
}

TEST_CASE("load_state: several state dicts are listed, and chosen by key", "[unit][weights]") {
  CHECK_THAT(error_of(fixture("ambiguous.pt")), Contains("model  (3 entries)") && Contains("ema.shadow  (3 entries)"));
  const State state = load_state(fixture("ambiguous.pt"), {"ema.shadow", ""});
  check_state_dict(state);
  CHECK(state.key == "ema.shadow");
  CHECK(state.number("step") == 5);
  CHECK_THAT(error_of(fixture("ambiguous.pt"), {"modle", ""}),
             Contains("did you mean 'model'") && Contains("ema.shadow"));
  CHECK_THAT(error_of(fixture("nested.pt"), {"optimizer", ""}), Contains("no state dict under 'optimizer'"));
  CHECK_THAT(error_of(fixture("reference.safetensors"), {"model", ""}), Contains("has no parts"));
  check_state_dict(load_state(fixture("state_dict.pt"), {".", ""}));
}

TEST_CASE("load_state: wrapper prefixes go when every tensor has them, others when asked", "[unit][weights]") {
  CHECK(load_state(fixture("data_parallel.pt")).stripped_prefix == "module.");
  check_state_dict(load_state(fixture("data_parallel.pt")));
  check_state_dict(load_state(fixture("compiled_parallel.pt")));
  CHECK(load_state(fixture("compiled_parallel.pt")).stripped_prefix == "_orig_mod.module.");
  CHECK(load_state(fixture("lightning.ckpt")).tensors.contains("model.conv.weight"));
  check_state_dict(load_state(fixture("lightning.ckpt"), {std::nullopt, "model."}));
  CHECK_THAT(error_of(fixture("lightning.ckpt"), {std::nullopt, "model.conv."}), Contains("2 of 3 tensors have it"));

  const TemporaryFile file;
  write_safetensors(file.path(), {{"module.a", Tensor::scalar(1)}, {"b", Tensor::scalar(2)}});
  CHECK(load_state(file.path()).tensors.contains("module.a"));
}

TEST_CASE("load_state: every element type arrives as it was", "[golden][weights]") {
  const State state = load_state(fixture("dtypes.pt"));
  CHECK(state.tensors.size() == 13);
  CHECK(state.tensors.at("bfloat16").dtype() == DType::BF16);
  CHECK(state.tensors.at("uint16").dtype() == DType::U16);
  for (const auto& [name, tensor] : state.tensors) {
    INFO(name);
    CHECK(numbers(tensor) == (name == "bool" ? std::vector<double>{1, 0, 1} : std::vector<double>{1, 2, 100}));
  }
}

TEST_CASE("load_state: views of one storage share it, strided ones are made dense", "[golden][weights]") {
  for (const char* name : {"views.pt", "legacy_protocol_4.pt"}) {
    INFO(name);
    const TensorMap tensors = load_state(fixture(name)).tensors;
    CHECK(tensors.at("base").data() == tensors.at("alias").data());
    CHECK(tensors.at("tail").data() == static_cast<const float*>(tensors.at("base").data()) + 20);
    CHECK(numbers(tensors.at("tail")) == std::vector<double>{20, 21, 22, 23});
    CHECK(tensors.at("transposed").shape() == Shape{4, 3, 2});
    CHECK(numbers(tensors.at("transposed"))[1] == 12);
    CHECK(numbers(tensors.at("transposed"))[23] == 23);
    CHECK(numbers(tensors.at("every_other"))[11] == 22);
    CHECK(numbers(tensors.at("expanded")) == std::vector<double>(5, 3.0));
    CHECK(numbers(tensors.at("channels_last"))[5] == 5);
    CHECK(tensors.at("nothing").shape() == Shape{0, 4});
  }
}

TEST_CASE("load_state: objects beside the tensors stay inert and are named", "[golden][weights]") {
  for (const char* name : {"objects.pt", "protocol_5.pt"}) {
    INFO(name);
    const State state = load_state(fixture(name));
    CHECK(state.tensors.size() == 4);
    CHECK(numbers(state.tensors.at("parameter")) == std::vector<double>{0, 1, 2});
    CHECK(numbers(state.tensors.at("array")) == std::vector<double>{0, 1, 2, 3, 4, 5});
    CHECK(numbers(state.tensors.at("fortran")) == std::vector<double>{0, 1, 2, 3, 4, 5});
    CHECK(state.number("float32") == 0.5);
    CHECK(state.number("int64") == -3);
    CHECK(state.number("flag") == 1);
    CHECK(state.number("negative") == -1099511627776.0);
    const auto skips = [&](const std::string& entry) {
      return std::find(state.skipped.begin(), state.skipped.end(), entry) != state.skipped.end();
    };
    CHECK(skips("arguments (argparse.Namespace object)"));
    CHECK(skips("path (pathlib.PurePosixPath object)"));
    CHECK(skips("huge (builtins.int object)"));
    CHECK(skips("nothing (None)"));
    CHECK(skips("size (tuple of 2)"));
    CHECK(skips("dtype (class torch.bfloat16)"));
  }
}

TEST_CASE("load_state: files without a usable state dict say what they hold", "[unit][weights]") {
  CHECK_THAT(error_of(fixture("module.pt")), Contains("__main__.Small object") && Contains("model.state_dict()"));
  CHECK_THAT(error_of(fixture("script.pt")), Contains("TorchScript"));
  CHECK_THAT(error_of(fixture("scalar.pt")), Contains("no state dict") && Contains("dict of 2"));
  CHECK_THAT(error_of(fixture("complex.pt")), Contains("'spectrum'") && Contains("complex"));
  CHECK_THAT(error_of(fixture("make.py")), Contains("neither a safetensors file nor a torch checkpoint"));
  CHECK_THAT(error_of(fixture("absent.pt")), Contains("No such file"));
  const TemporaryFile pointer("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
  CHECK_THAT(error_of(pointer.path()), Contains("git lfs pull"));
  const TemporaryFile page("<!DOCTYPE html><html></html>");
  CHECK_THAT(error_of(page.path()), Contains("web page"));
  const TemporaryFile empty("");
  CHECK_THAT(error_of(empty.path()), Contains("is empty"));
}

TEST_CASE("load_state: a hostile or contradictory torch zip is refused with its reason", "[unit][weights]") {
  struct Case {
    std::string contents;
    std::string reason;
  };

  const std::string six = "K\6\x85";
  const std::string one = "K\1\x85";
  const std::string zero = std::string("K\0\x85", 3);
  const std::string floats(24, '\0');
  const std::string huge = "J" + raw<std::int32_t>(2147483647) + "\x85";
  const std::array cases{
      Case{torch_zip("cposix\nsystem\n(X" + raw<std::uint32_t>(5) + "touchtR."), "names posix.system"},
      Case{torch_zip(one_tensor(six, one)), "entry 'archive/data/0' is missing"},
      Case{torch_zip(one_tensor(six, one), {{"archive/data/0", "1234"}}), "has 4 bytes"},
      Case{torch_zip(one_tensor(six, one, 7), {{"archive/data/0", floats}}), "7 elements"},
      Case{torch_zip(one_tensor(six, one), {{"archive/data/0", floats, 0, 0, 99}}), "checksum"},
      Case{torch_zip(one_tensor(six, one), {{"archive/data/0", floats}, {"archive/byteorder", "big"}}), "says 'big'"},
      Case{torch_zip(one_tensor(huge, zero), {{"archive/data/0", floats}}), "memory bomb"},
      Case{torch_zip("K\1", {}), "data.pkl', byte 2"},
      Case{make_zip({{"a/data.pkl", "N."}, {"b/data.pkl", "N."}}), "2 entries"},
      Case{make_zip({{"word/document.xml", "<w/>"}}), "0 entries"},
  };
  for (const Case& item : cases) {
    const TemporaryFile file(item.contents);
    CHECK_THAT(error_of(file.path()), Contains(item.reason) && Contains(file.path().string()));
  }
  const TemporaryFile good(torch_zip(one_tensor(six, one), {{"archive/data/0", floats}}));
  CHECK(numbers(load_state(good.path()).tensors.at("w")) == std::vector<double>(6, 0.0));
}

TEST_CASE("load_state: a damaged legacy file is refused with its reason", "[unit][weights]") {
  const std::string good = read_all(fixture("legacy.pt"));
  const auto error = [](const std::string& contents) {
    const TemporaryFile file(contents);
    return error_of(file.path());
  };
  CHECK_THAT(error(good.substr(0, good.size() - 1)), Contains("cut off"));
  CHECK_THAT(error(good + "x"), Contains("1 bytes follow"));
  CHECK_THAT(error("\x80\x02K\1."), Contains("magic number missing"));
  std::string other = good;
  other[other.find("M\xe9\x03") + 1] = '\x01';
  CHECK_THAT(error(other), Contains("protocol int"));
  std::string big_endian = good;
  big_endian[big_endian.find("little_endian") + 15] = '\x89';
  CHECK_THAT(error(big_endian), Contains("big-endian") || Contains("system information"));
  CHECK_THAT(error("\x80\x04\x8c\x02os\x8c\x06system\x93."), Contains("names os.system"));
}
