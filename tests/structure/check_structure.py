#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Enforces the dependency rules of docs/architecture.md by reading #include lines.

usage: check_structure.py ROOT

Each finding is one line, FILE:LINE: what is wrong. Exit code 1 when there is any.
"""
import os
import re
import sys
from pathlib import Path

SOURCES = {".c", ".h", ".cpp", ".hpp", ".cu", ".cuh"}
HEADERS = {".h", ".hpp", ".cuh"}
TEXTS = SOURCES | {".py", ".cmake", ".txt", ".md", ".json", ".sh", ".in", ".yml", ""}
MAX_LINES = 500
SKIPPED_FOLDERS = {".git", ".venv", "build", "demo-out", "__pycache__"}
SKIPPED_PREFIXES = ("build-", "abi/frozen/")

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
MODULE = re.compile(r"medgen_core_module\s*\(\s*(\w+)([^)]*)\)")
TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
C_STANDARD = re.compile(r"^(stddef|stdint)\.h$")
STANDARD = re.compile(r"^(?!cuda)[a-z_0-9]+(\.h)?$")
# Paths of somebody's machine, and of folders beside the repository.
FOREIGN_PATH = re.compile(r"(?<![\w.~$}])/(?:work|root|opt)/|\.\./" + "shared")


class Tree:
    """The files of the repository, and what its CMake lists say about core modules."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = sorted(self._walk())
        self.depends = self._core_depends()

    def _walk(self):
        for folder, folders, names in os.walk(self.root):
            folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS]
            for name in names:
                path = (Path(folder) / name).relative_to(self.root).as_posix()
                if not path.startswith(SKIPPED_PREFIXES):
                    yield path

    def _core_depends(self):
        depends = {}
        for path in self.files:
            if re.fullmatch(r"core/\w+/CMakeLists\.txt", path):
                for name, arguments in MODULE.findall(self.text(path)):
                    match = re.search(r"DEPENDS((?:\s+(?!LINK\b)\w+)*)", arguments)
                    depends[name] = set(match.group(1).split()) if match else set()
        return depends

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    def includes(self, path):
        for number, line in enumerate(self.text(path).splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1)


def is_test(path):
    return path.endswith(("_test.cpp", "_test.cu", "_test.c")) or "/testing/" in path


def check_abi(path, included, _tree):
    if not included.startswith("medgen/abi/") and not C_STANDARD.match(included):
        return "an ABI header may include ABI headers, stddef.h and stdint.h only"
    return None


def check_sdk(path, included, _tree):
    if not included.startswith(("medgen/abi/", "medgen/sdk/")) and not STANDARD.match(included):
        return "an SDK header may include the ABI, the SDK and the standard library only"
    return None


def check_kernels(path, included, _tree):
    if included.startswith(("kernels/", "medgen/abi/")) or included == "medgen/sdk/noise.hpp" \
            or STANDARD.match(included):
        return None
    if included.startswith("cuda_runtime") and path.startswith("kernels/cuda/"):
        return None
    if is_test(path) and included == "catch2/catch.hpp":
        return None
    return "a kernel includes kernels/, the ABI, medgen/sdk/noise.hpp and the standard library only"


def check_core(path, included, tree):
    module = path.split("/")[1]
    if included.startswith("plugins/"):
        return "core knows no plugin"
    if included.startswith("core/"):
        used = included.split("/")[1]
        if used != module and used not in tree.depends.get(module, set()):
            return f"core/{module} does not name '{used}' in the DEPENDS of core/{module}/CMakeLists.txt"
    return None


def check_plugin(path, included, _tree):
    plugin = path.split("/")[1]
    if included.startswith("core/") and not is_test(path):
        return "a plugin sees the host through the ABI only, never through core"
    if included.startswith("plugins/") and included.split("/")[1] not in (plugin, "support"):
        return "a plugin never includes another plugin; what plugins share belongs to plugins/support"
    return None


AREAS = (
    ("abi/include/", check_abi),
    ("abi/sdk/include/", check_sdk),
    ("kernels/", check_kernels),
    ("core/", check_core),
    ("plugins/", check_plugin),
)


def check_everywhere(path, included):
    if included == "torch/torch.h":
        return "torch/torch.h takes 15 s to compile; include what is used (ATen/ops/..., ATen/core/Tensor.h)"
    if TORCH.match(included) and not path.startswith(("plugins/", "tests/")):
        return "only plugins/ and tests/ may include LibTorch"
    if included == "nlohmann/json.hpp" and Path(path).suffix in HEADERS and re.match(r"(abi|core/(?!config/))", path):
        return "a header includes core/config/json.h, which declares Json; json.hpp belongs into .cpp files"
    return None


def include_findings(tree):
    for path in tree.files:
        if Path(path).suffix not in SOURCES:
            continue
        check_area = next((check for prefix, check in AREAS if path.startswith(prefix)), None)
        for number, included in tree.includes(path):
            for problem in (check_everywhere(path, included), check_area and check_area(path, included, tree)):
                if problem:
                    yield f"{path}:{number}: includes {included}: {problem}"


def cycle_findings(tree):
    done, trail = set(), []

    def visit(module):
        if module in trail:
            yield f"core/{module}/CMakeLists.txt:1: modules depend on each other: {' -> '.join(trail + [module])}"
        elif module not in done:
            trail.append(module)
            for used in sorted(tree.depends.get(module, ())):
                yield from visit(used)
            trail.pop()
            done.add(module)

    for module in sorted(tree.depends):
        yield from visit(module)


def text_findings(tree):
    for path in tree.files:
        if Path(path).suffix not in TEXTS or path == "LICENSE":
            continue
        lines = tree.text(path).splitlines()
        is_source = Path(path).suffix in SOURCES
        if is_source and "SPDX-License-Identifier: Apache-2.0" not in "".join(lines[:1]):
            yield f"{path}:1: the first line names no licence (SPDX-License-Identifier: Apache-2.0)"
        # Data (.json) and generated asserts are as long as they are.
        if (is_source or Path(path).suffix in {".py", ".md"}) and len(lines) > MAX_LINES \
                and not path.startswith("tests/abi/layout_"):
            yield f"{path}:{len(lines)}: longer than {MAX_LINES} lines: split it"
        for number, line in enumerate(lines, 1):
            if FOREIGN_PATH.search(line) and not path.startswith("tests/structure/"):
                yield f"{path}:{number}: names a path outside the repository: {line.strip()[:80]}"


def findings(root):
    tree = Tree(root)
    return [*include_findings(tree), *cycle_findings(tree), *text_findings(tree)]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    problems = findings(sys.argv[1])
    print("\n".join(problems) if problems else "the structure is as docs/architecture.md says")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
