// SPDX-License-Identifier: Apache-2.0
#include "core/weights/pickle_constructors.h"

#include "core/base/error.h"

#include <algorithm>
#include <array>

namespace medgen::pickle {
namespace {

// Standard-library modules (old ones included) that reach the system, the interpreter or other code, and that no
// checkpoint has a reason to name. pathlib, argparse, functools and the like do occur, and stay inert.
constexpr auto kModules = std::to_array<std::string_view>({
    "_aix_support",
    "_osx_support",
    "_pickle",
    "_posixsubprocess",
    "_pyrepl",
    "_thread",
    "asyncio",
    "atexit",
    "bdb",
    "cPickle",
    "cProfile",
    "cffi",
    "codeop",
    "ctypes",
    "distutils",
    "doctest",
    "ensurepip",
    "fcntl",
    "ftplib",
    "http",
    "httplib",
    "idlelib",
    "imaplib",
    "imp",
    "importlib",
    "inspect",
    "lib2to3",
    "marshal",
    "mmap",
    "nt",
    "os",
    "pdb",
    "multiprocessing",
    "pickle",
    "pip",
    "pkgutil",
    "popen2",
    "poplib",
    "posix",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "shutil",
    "signal",
    "smtplib",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "telnetlib",
    "threading",
    "timeit",
    "urllib",
    "webbrowser",
    "zipimport",
});

constexpr auto kBuiltins = std::to_array<std::string_view>({
    "__build_class__",
    "__import__",
    "apply",
    "breakpoint",
    "compile",
    "delattr",
    "eval",
    "exec",
    "execfile",
    "exit",
    "file",
    "getattr",
    "globals",
    "help",
    "input",
    "locals",
    "open",
    "quit",
    "raw_input",
    "reload",
    "setattr",
    "vars",
});

constexpr auto kFunctions = std::to_array<std::string_view>({
    "_operator.attrgetter",
    "_operator.methodcaller",
    "code.InteractiveConsole",
    "code.InteractiveInterpreter",
    "code.interact",
    "commands.getoutput",
    "commands.getstatusoutput",
    "numpy.load",
    "numpy.testing._private.utils.runstring",
    "operator.attrgetter",
    "operator.methodcaller",
    "torch.hub.load",
    "torch.jit.load",
    "torch.load",
    "torch.serialization.load",
    "types.CodeType",
    "types.FunctionType",
});

template <typename Names>
bool holds(const Names& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::string_view first_part(std::string_view dotted) {
  return dotted.substr(0, dotted.find('.'));
}

}  // namespace

bool is_attribute_getter(const Global& global) {
  return (global.module == "builtins" || global.module == "__builtin__") && global.name == "getattr";
}

void refuse_as_attack(const Global& global) {
  throw DataError(
      "names {}, which Python would run on loading. This is an attack, not a checkpoint: refused, nothing was run",
      global.full_name().substr(0, 100));
}

bool is_dangerous(const Global& global) {
  const std::string_view top = first_part(global.module);
  if (holds(kModules, top) || holds(kFunctions, global.full_name())) return true;
  const bool builtin = top == "builtins" || top == "__builtin__" || top == "__builtins__";
  if (builtin && holds(kBuiltins, first_part(global.name))) return !is_attribute_getter(global);
  // Protocol 4 reaches through attributes: ("torch.serialization", "os.system").
  std::string_view rest = global.name;
  while (rest.find('.') != std::string_view::npos) {
    if (holds(kModules, first_part(rest)) || first_part(rest) == "__globals__") return true;
    rest.remove_prefix(rest.find('.') + 1);
  }
  return false;
}

}  // namespace medgen::pickle
