// SPDX-License-Identifier: Apache-2.0
#pragma GCC diagnostic ignored "-Wrestrict"  // false alarm of GCC 12 for "literal" + std::string (PR 105651)

#include "core/weights/unpickler.h"

#include "core/weights/test_files.h"

#include <catch2/catch.hpp>

#include <array>

using namespace medgen;
using namespace medgen::test;
using namespace medgen::pickle;
using namespace std::string_literals;
using Catch::Matchers::Contains;

namespace {

struct Loaded {
  Tree tree;
  const Value* root = nullptr;
};

std::unique_ptr<Loaded> load(const std::string& bytes) {
  auto loaded = std::make_unique<Loaded>();
  ByteReader reader(std::as_bytes(std::span(bytes)), "test.pkl");
  loaded->root = Unpickler(loaded->tree, reader).load();
  return loaded;
}

std::string error_of(const std::string& bytes) {
  return data_error([&] { load(bytes); });
}

template <typename T>
T value_of(const std::string& bytes) {
  const auto loaded = load(bytes);
  const T* value = loaded->root->as<T>();
  REQUIRE(value != nullptr);
  return *value;
}

/// SHORT_BINUNICODE
std::string text(const std::string& letters) {
  return "\x8c"s + static_cast<char>(letters.size()) + letters;
}

/// A float storage of `count` elements, by its persistent id.
std::string storage(const std::string& key, int count, const std::string& type = "FloatStorage") {
  return "(" + text("storage") + "ctorch\n" + type + "\n" + text(key) + text("cpu") + "K" + static_cast<char>(count) +
         "tQ";
}

std::string numbers(std::initializer_list<int> values) {
  std::string tuple = "(";
  for (const int value : values) tuple += "J" + raw<std::int32_t>(value);
  return tuple + "t";
}

/// _rebuild_tensor_v2 of storage '0' with 6 floats.
std::string tensor(int offset, std::initializer_list<int> size, std::initializer_list<int> stride) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage("0", 6) + "J" + raw<std::int32_t>(offset) + numbers(size) +
         numbers(stride) + "\x89}tR.";
}

}  // namespace

TEST_CASE("unpickler: numbers of every opcode", "[unit][weights]") {
  CHECK(value_of<std::int64_t>("K\x07.") == 7);
  CHECK(value_of<std::int64_t>("M\x00\x01."s) == 256);
  CHECK(value_of<std::int64_t>("J\xff\xff\xff\xff.") == -1);
  CHECK(value_of<std::int64_t>("\x8a\x00."s) == 0);
  CHECK(value_of<std::int64_t>("\x8a\x02\x00\xff."s) == -256);
  CHECK(value_of<std::int64_t>("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.") ==
        std::numeric_limits<std::int64_t>::max());
  CHECK(value_of<std::int64_t>("I-12\n.") == -12);
  CHECK(value_of<std::int64_t>("L34L\n.") == 34);
  CHECK(value_of<double>("G\x3f\xf8\x00\x00\x00\x00\x00\x00."s) == 1.5);
  CHECK(value_of<double>("F-2.5e3\n.") == -2500.0);
  CHECK(value_of<bool>("I01\n."));
  CHECK_FALSE(value_of<bool>("\x80\x02\x89."));
}

TEST_CASE("unpickler: whole numbers beyond 64 bits are kept without a meaning", "[unit][weights]") {
  CHECK(value_of<Opaque>("\x8a\x09" + std::string(9, '\1') + ".").type.full_name() == "builtins.int");
  CHECK(value_of<Opaque>("L123456789012345678901234567890L\n.").type.full_name() == "builtins.int");
}

TEST_CASE("unpickler: strings, containers and memo make the tree they describe", "[unit][weights]") {
  const auto loaded =
      load("}\x94(" + text("a") + "]\x94(K\x01K\x02" + "e" + text("b") + "h\x01" + text("c") + "h\x00"s + "u.");
  const auto* dict = loaded->root->as<Dict>();
  REQUIRE(dict != nullptr);
  REQUIRE(dict->items.size() == 3);
  CHECK(dict->find("a") == dict->find("b"));
  CHECK(dict->find("a")->as<List>()->items.size() == 2);
  CHECK(dict->find("c") == loaded->root);  // a dict that holds itself
  CHECK(dict->find("absent") == nullptr);
}

TEST_CASE("unpickler: unknown classes stay inert, with what was handed to them", "[unit][weights]") {
  const auto object = value_of<Opaque>("cmy.module\nThing\n(K\x01tR}" + text("x") + "K\x02sb.");
  CHECK(object.type.full_name() == "my.module.Thing");
  CHECK(object.state != nullptr);
  CHECK(value_of<Opaque>("\x80\x04" + text("argparse") + text("Namespace") + "\x93)\x81.").type.name == "Namespace");
  CHECK(value_of<Opaque>("(cmy\nThing\nK\x01o.").type.name == "Thing");
  CHECK(value_of<Opaque>("(K\x01imy\nThing\n.").type.name == "Thing");
}

TEST_CASE("unpickler: a pickle that would run something is refused and names it", "[unit][weights]") {
  struct Case {
    std::string pickle;
    std::string name;
  };

  const std::array cases{
      Case{"cos\nsystem\n(S'echo'\ntR.", "os.system"},
      Case{"cposix\nsystem\n(" + text("echo") + "tR.", "posix.system"},
      Case{"\x80\x04" + text("os") + text("system") + "\x93" + text("echo") + "\x85R.", "os.system"},
      Case{"\x80\x04" + text("builtins") + text("eval") + "\x93.", "builtins.eval"},
      Case{"c__builtin__\nexec\n.", "__builtin__.exec"},
      Case{"cbuiltins\ngetattr\n(" + text("x") + text("system") + "tR.", "builtins.getattr"},
      Case{"cbuiltins\ngetattr\n(cmy\nThing\n" + text("__subclasses__") + "tR.", "builtins.getattr"},
      Case{"cbuiltins\ngetattr\n(cmy\nThing\n" + text("run.now") + "tR.", "builtins.getattr"},
      Case{"cbuiltins\ngetattr\n(cmy\nThing\ntR.", "builtins.getattr"},
      Case{"cbuiltins\ngetattr\n(cmy\nThing\n" + text("run") + "tR(" + text("echo") + "tR.", "builtins.getattr"},
      Case{"cbuiltins\ngetattr.__call__\n.", "builtins.getattr.__call__"},
      Case{"csubprocess\nPopen\n.", "subprocess.Popen"},
      Case{"(" + text("echo") + "ios\nsystem\n.", "os.system"},
      Case{"(cos\npopen\n" + text("echo") + "o.", "os.popen"},
      Case{"cos.path\nos.system\n.", "os.path.os.system"},
      Case{"\x80\x04" + text("torch.serialization") + text("os.system") + "\x93.", "torch.serialization.os.system"},
      Case{"cimportlib\nimport_module\n.", "importlib.import_module"},
      Case{"cshutil\nrmtree\n.", "shutil.rmtree"},
      Case{"csocket\nsocket\n.", "socket.socket"},
      Case{"csys\nexit\n.", "sys.exit"},
      Case{"cnt\nsystem\n.", "nt.system"},
      Case{"crunpy\n_run_code\n.", "runpy._run_code"},
      Case{"ctorch.hub\nload\n.", "torch.hub.load"},
      Case{"coperator\nattrgetter\n.", "operator.attrgetter"},
  };
  for (const Case& item : cases)
    CHECK_THAT(error_of(item.pickle), Contains("names " + item.name) && Contains("nothing was run"));
}

TEST_CASE("unpickler: members of enums, which Python 3.11 stores by getattr, are inert", "[unit][weights]") {
  for (const char* module : {"builtins", "__builtin__"}) {
    const auto member =
        value_of<Opaque>("c"s + module + "\ngetattr\n(cmonai.utils.enums\nMetaKeys\n" + text("AFFINE") + "tR.");
    CHECK(member.type.full_name() == module + ".getattr"s);
  }
}

TEST_CASE("unpickler: classes that only resemble dangerous ones are inert", "[unit][weights]") {
  for (const char* name : {"osmnx\nGraph", "my.os\nsystem", "pathlib\nPosixPath", "functools\npartial", "builtins\nset",
                           "codec.model\nNet", "operator\nitemgetter", "torch.nn.modules.linear\nLinear"}) {
    CHECK(value_of<Global>("c"s + name + "\n.").module.size() > 1);
  }
}

TEST_CASE("unpickler: a tensor keeps offset, sizes and strides", "[unit][weights]") {
  const auto reference = value_of<TensorRef>(tensor(1, {2, 2}, {2, 1}));
  CHECK(reference.offset == 1);
  CHECK(reference.shape == Shape{2, 2});
  CHECK(reference.strides == Shape{2, 1});
  CHECK(value_of<TensorRef>(tensor(6, {0, 4}, {4, 1})).shape == Shape{0, 4});
  CHECK(value_of<TensorRef>(tensor(5, {}, {})).shape.empty());
}

TEST_CASE("unpickler: a tensor outside its storage is refused", "[unit][weights]") {
  const std::array bad{
      tensor(0, {7}, {1}),
      tensor(1, {6}, {1}),
      tensor(6, {}, {}),
      tensor(0, {2, 2}, {5, 1}),
      tensor(7, {0}, {1}),
      tensor(0, {2147483647, 2147483647}, {2147483647, 2147483647}),
      tensor(0, {2147483647, 2147483647, 2147483647}, {0, 0, 0}),
  };
  for (const std::string& pickle : bad) {
    CHECK_THAT(error_of(pickle), Contains("does not fit its storage") || Contains("impossible tensor shape"));
  }
  CHECK_THAT(error_of(tensor(-1, {1}, {1})), Contains("offset is int -1"));
  CHECK_THAT(error_of(tensor(0, {-1}, {1})), Contains("size holds int -1"));
  CHECK_THAT(error_of(tensor(0, {2}, {-1})), Contains("stride holds int -1"));
  CHECK_THAT(error_of(tensor(0, {2, 1}, {1})), Contains("2 sizes and 1 strides"));
  CHECK_THAT(error_of("ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR."s), Contains("a storage is needed"));
  CHECK_THAT(error_of("ctorch._utils\n_rebuild_tensor_v2\n)R."), Contains("at least 4"));
}

TEST_CASE("unpickler: a subclass of Tensor is the tensor inside, wrapped only so many times", "[unit][weights]") {
  const std::string inner = "ctorch._utils\n_rebuild_tensor\n";
  const std::string arguments = "(" + storage("0", 6) + "K\x00"s + numbers({6}) + numbers({1}) + "t";
  const std::string wrapper = "ctorch._tensor\n_rebuild_from_type_v2\n";
  const std::string once = wrapper + "(" + inner + "cmonai.data.meta_tensor\nMetaTensor\n" + arguments + "}tR.";
  CHECK(value_of<TensorRef>(once).shape == Shape{6});

  std::string callable = inner;
  std::string nested = arguments;
  for (int i = 0; i < 20; ++i) {
    nested = "(" + callable + "Nq\1" + nested + "Nt";
    callable = wrapper;
  }
  CHECK_THAT(error_of(wrapper + nested + "R."), Contains("wrapped more than"));
}

TEST_CASE("unpickler: storages that contradict themselves are refused", "[unit][weights]") {
  CHECK_THAT(error_of("(" + storage("0", 6) + storage("0", 7) + "t."), Contains("declared twice"));
  CHECK_THAT(error_of("(" + storage("0", 6) + storage("0", 6, "HalfStorage") + "t."), Contains("declared twice"));
  CHECK_THAT(error_of("K\x01Q."), Contains("persistent id"));
  CHECK_THAT(error_of("(" + text("storage") + "NNNNtQ."), Contains("instead of class, key and size"));
}

TEST_CASE("unpickler: malformed streams name file and byte", "[unit][weights]") {
  struct Case {
    std::string pickle;
    std::string reason;
  };

  const std::array cases{
      Case{"", "cut off"},
      Case{"K", "cut off"},
      Case{".", "takes more values"},
      Case{"0.", "takes more values"},
      Case{"(K\x01(a.", "takes more values"},
      Case{"t.", "no mark"},
      Case{"h\x05.", "before it is made"},
      Case{"\x80\x09N.", "protocol 9"},
      Case{"\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", "cut off"},
      Case{"X\xff\xff\xff\xff"
           "abc.",
           "cut off"},
      Case{"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
           "abc.",
           "cut off"},
      Case{"\xff.", "opcode 0xff"},
      Case{"Pabc\n.", "opcode 0x50"},
      Case{"\x82\x01.", "opcode 0x82"},
      Case{"I12x\n.", "is no number"},
      Case{"I12", "does not end"},
      Case{"Nq\x01K\x01"
           "a.",
           "cannot be appended to"},
      Case{"NK\x01K\x02s.", "no items to set"},
      Case{"}(K\x01u.", "key without value"},
      Case{"K\x01K\x02\x93.", "a class is named by"},
      Case{"(o.", "without class"},
  };
  for (const Case& item : cases)
    CHECK_THAT(error_of(item.pickle), Contains(item.reason) && Contains("test.pkl, byte "));
}

TEST_CASE("unpickler: nesting is limited, for tuples, lists and dicts", "[unit][weights]") {
  std::string tuples = "N";
  for (int i = 0; i < 100'000; ++i) tuples += '\x85';
  std::string lists(100'000, ']');
  lists += std::string(99'999, 'a');
  std::string dicts;
  for (int i = 0; i < 1000; ++i) dicts += "}N";
  dicts += "N" + std::string(1000, 's');
  for (const std::string& pickle : {tuples, lists, dicts})
    CHECK_THAT(error_of(pickle + "."), Contains("nested more than 200"));
  CHECK(load("]" + std::string(50, ']') + std::string(50, 'a') + ".")->root->as<List>() != nullptr);
}

TEST_CASE("unpickler: a small pickle cannot make much work", "[unit][weights]") {
  CHECK_THAT(error_of(std::string(4'100'000, '2')), Contains("takes more values"));
  CHECK_THAT(error_of("N" + std::string(4'100'000, '2')), Contains("steps: refused"));
  CHECK_THAT(error_of("N" + std::string(4'100'000, '\x94')), Contains("steps: refused"));
  // A list of 5'000 pairs that is copied into a dict again and again.
  std::string list = "(";
  for (int i = 0; i < 5'000; ++i) list += "NN\x86";
  std::string copies = list + "lq\x01";
  for (int i = 0; i < 1'000; ++i) copies += "ccollections\nOrderedDict\nh\x01\x85R0";
  CHECK_THAT(error_of(copies + "."), Contains("steps: refused"));
}
