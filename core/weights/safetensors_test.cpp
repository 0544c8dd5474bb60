// SPDX-License-Identifier: Apache-2.0
#include "core/weights/safetensors.h"

#include "core/weights/test_files.h"

#include <catch2/catch.hpp>

#include <array>
#include <vector>

using namespace medgen;
using namespace medgen::test;
using Catch::Matchers::Contains;

namespace {

std::string safetensors(const std::string& header, std::size_t data_bytes = 0) {
  return raw<std::uint64_t>(header.size()) + header + std::string(data_bytes, '\1');
}

std::string error_of(const std::string& contents) {
  const TemporaryFile file(contents);
  return data_error([&] { SafetensorsFile{file.path()}; });
}

}  // namespace

TEST_CASE("safetensors: what is written is read back, bit for bit", "[unit][weights]") {
  const std::vector<float> numbers{0.0F, -1.5F, 3.25F, 1e30F, -0.0F, 7.0F};
  const std::vector<std::uint8_t> bytes{1, 2, 255};
  TensorMap tensors;
  tensors["z.first"] = Tensor::from<std::uint8_t>(bytes, {3});
  tensors["a.second"] = Tensor::from<float>(numbers, {2, 3});
  tensors["half"] = tensors["a.second"].to(DType::F16);
  tensors["brain"] = tensors["a.second"].to(DType::BF16);
  tensors["scalar"] = Tensor::scalar(2.5F).reshape({});
  tensors["none"] = Tensor(DType::F64, {0, 4});
  const Metadata metadata{{"scale_factor", "1.5"}, {"note", "äöü \"quoted\"\n"}};
  const TemporaryFile file;
  write_safetensors(file.path(), tensors, metadata);

  const SafetensorsFile read(file.path());
  CHECK(read.metadata() == metadata);
  REQUIRE(read.tensors().size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const Tensor& found = read.tensors().at(name);
    CHECK(found.dtype() == tensor.dtype());
    CHECK(found.shape() == tensor.shape());
    CHECK(std::string_view(static_cast<const char*>(found.data()), found.bytes()) ==
          std::string_view(static_cast<const char*>(tensor.data()), tensor.bytes()));
    CHECK(reinterpret_cast<std::uintptr_t>(found.data()) % size_of(found.dtype()) == 0);
  }
}

TEST_CASE("safetensors: tensors outlive the file object that mapped them", "[unit][weights]") {
  Tensor tensor;
  {
    const SafetensorsFile file(fixture("reference.safetensors"));
    tensor = file.tensors().at("float32");
  }
  CHECK(tensor.values<float>()[2] == 100.0F);
}

TEST_CASE("safetensors: a file of the reference implementation is read in full", "[golden][weights]") {
  const SafetensorsFile file(fixture("reference.safetensors"));
  CHECK(file.metadata() == Metadata{{"note", "hello"}, {"scale_factor", "1.5"}});
  CHECK(file.tensors().size() == 15);
  CHECK(file.tensors().at("empty").shape() == Shape{0, 2});
  CHECK(file.tensors().at("scalar").shape().empty());
  for (const char* name : {"float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64",
                           "uint16", "uint32", "uint64"}) {
    const Tensor numbers = file.tensors().at(name).to(DType::F64);
    CHECK(std::vector<double>(numbers.values<double>().begin(), numbers.values<double>().end()) ==
          std::vector<double>{1, 2, 100});
  }
}

TEST_CASE("safetensors: a misaligned tensor is copied to where it can be read", "[unit][weights]") {
  const std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  const TemporaryFile file(safetensors(header) + '\7' + raw(1.5F) + raw(-2.0F));
  const SafetensorsFile read(file.path());
  CHECK(read.tensors().at("b").values<float>()[0] == 1.5F);
  CHECK(read.tensors().at("b").values<float>()[1] == -2.0F);
}

TEST_CASE("safetensors: every defect of a header is refused with its reason", "[unit][weights]") {
  struct Case {
    std::string contents;
    std::string reason;
  };

  const auto one = [](const std::string& entry, std::size_t bytes) {
    return safetensors(R"({"a":)" + entry + "}", bytes);
  };
  const std::array cases{
      Case{"", "too short"},
      Case{"\1\2\3", "too short"},
      Case{raw<std::uint64_t>(100'000'001) + "{}", "at most 100000000"},
      Case{raw<std::uint64_t>(~0ULL) + "{}", "at most 100000000"},
      Case{raw<std::uint64_t>(50) + "{}", "cut off"},
      Case{safetensors(""), "does not start with"},
      Case{safetensors("[]"), "does not start with"},
      Case{safetensors("{\"a\":"), "not valid JSON"},
      Case{safetensors("{} {}"), "not valid JSON"},
      Case{safetensors("{\"\xff\":1}"), "not valid JSON"},
      Case{safetensors(R"({"a":[[[[[[1]]]]]]})"), "too deeply"},
      Case{safetensors(R"({"__metadata__":{"n":1}})"), "not a string"},
      Case{safetensors(R"({"__metadata__":3})"), "object of strings"},
      Case{one("3", 0), "must be an object"},
      Case{one(R"({"dtype":"F32","shape":[1]})", 4), "must be an object"},
      Case{one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", 4), "must be an object"},
      Case{one(R"({"dtype":"F32","shape":[1],"offsets":[0,4]})", 4), "must be an object"},
      Case{one(R"({"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]})", 1), "F8_E4M3"},
      Case{one(R"({"dtype":7,"shape":[1],"data_offsets":[0,1]})", 1), "element type 7"},
      Case{one(R"({"dtype":"F32","shape":4,"data_offsets":[0,4]})", 4), "must be an array"},
      Case{one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4), "not a size"},
      Case{one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4), "not a size"},
      Case{one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]})", 4), "not a size"},
      Case{one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})", 4),
           "impossible tensor shape"},
      Case{one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", 4), "[begin, end]"},
      Case{one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4), "4 bytes are stored"},
      Case{one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 4), "past the end"},
      Case{one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4), "overlap or leave a gap"},
      Case{one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8), "overlap or leave a gap"},
      Case{one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", 8), "belong to none"},
      Case{
          one(R"({"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})",
              1),
          "overlap"},
      Case{one(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]})",
               2),
           "stands twice"},
      Case{safetensors(R"({"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})") + "\3", "value 3"},
  };
  for (const Case& item : cases) {
    INFO(item.contents.substr(0, 120));
    CHECK_THAT(error_of(item.contents), Contains(item.reason) && Contains("medgen-weights-"));
  }
}

TEST_CASE("safetensors: an unreadable path is a DataError", "[unit][weights]") {
  CHECK_THAT(data_error([] { SafetensorsFile{fixture("absent.safetensors")}; }), Contains("No such file"));
  CHECK_THAT(data_error([] { SafetensorsFile{fixture("")}; }), Contains("not a regular file"));
}

TEST_CASE("safetensors: nothing is written when a name cannot be", "[unit][weights]") {
  const TemporaryFile file("before");
  CHECK_THAT(data_error([&] { write_safetensors(file.path(), {{"\xff", Tensor::scalar(1)}}); }), Contains("not UTF-8"));
  CHECK_THAT(data_error([&] {
               write_safetensors(file.path(), {{"__metadata__", Tensor::scalar(1)}});
             }),
             Contains("cannot be named"));
  CHECK(read_all(file.path()) == "before");
}
