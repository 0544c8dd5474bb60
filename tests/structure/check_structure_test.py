#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of check_structure.py finds what breaks it, and nothing else."""
import tempfile
import unittest
from pathlib import Path

from check_structure import findings

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
BASE = {
    "core/base/CMakeLists.txt": "medgen_core_module(base LINK fmt)\n",
    "core/io/CMakeLists.txt": "medgen_core_module(io\n  DEPENDS base\n  LINK NIFTI::nifti2)\n",
    "core/io/nifti.cpp": SPDX + '#include "core/io/nifti.h"\n#include "core/base/error.h"\n#include <nlohmann/json.hpp>\n',
}


class Rules(unittest.TestCase):
    def found(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**BASE, **files}.items():
                (Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(root) / path).write_text(text)
            return findings(root)

    def assert_clean(self, path, include):
        self.assertEqual(self.found({path: f"{SPDX}#include {include}\n"}), [])

    def assert_refused(self, path, include, reason):
        problems = self.found({path: f"{SPDX}#include {include}\n"})
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(f"{path}:2:", problems[0])
        self.assertIn(reason, problems[0])

    def test_a_tree_that_keeps_the_rules_is_clean(self):
        self.assertEqual(self.found({}), [])

    def test_abi_headers_include_only_the_abi_and_two_c_headers(self):
        self.assert_clean("abi/include/medgen/abi/a.h", "<medgen/abi/base.h>")
        self.assert_clean("abi/include/medgen/abi/a.h", "<stdint.h>")
        self.assert_refused("abi/include/medgen/abi/a.h", "<stdio.h>", "an ABI header")
        self.assert_refused("abi/include/medgen/abi/a.h", "<medgen/sdk/x.hpp>", "an ABI header")

    def test_the_sdk_includes_only_the_abi_and_the_standard_library(self):
        self.assert_clean("abi/sdk/include/medgen/sdk/a.hpp", "<string_view>")
        self.assert_refused("abi/sdk/include/medgen/sdk/a.hpp", "<nlohmann/json_fwd.hpp>", "an SDK header")

    def test_kernels_include_no_library(self):
        self.assert_clean("kernels/a.h", '"kernels/numeric.h"')
        self.assert_clean("kernels/noise.h", "<medgen/sdk/noise.hpp>")
        self.assert_clean("kernels/cuda/a.cu", "<cuda_runtime.h>")
        self.assert_clean("kernels/a_test.cpp", "<catch2/catch.hpp>")
        self.assert_clean("core/io/a.cpp", '"kernels/launch.h"')
        self.assert_refused("kernels/a.h", "<cuda_runtime.h>", "a kernel")
        self.assert_refused("kernels/a.h", '"core/base/error.h"', "a kernel")
        self.assert_refused("kernels/cpu/a.cpp", "<fmt/format.h>", "a kernel")

    def test_core_modules_include_only_what_they_depend_on(self):
        self.assert_clean("core/io/a.h", '"core/base/error.h"')
        self.assert_refused("core/base/a.h", '"core/io/nifti.h"', "does not name 'io'")
        self.assert_refused("core/io/a_test.cpp", '"core/run/run.h"', "does not name 'run'")

    def test_core_knows_no_plugin_and_no_libtorch(self):
        self.assert_refused("core/io/a.h", '"plugins/support/nn/conv.h"', "core knows no plugin")
        self.assert_refused("core/io/a.cpp", "<ATen/core/Tensor.h>", "only plugins/")

    def test_modules_that_depend_on_each_other_are_refused(self):
        problems = self.found({"core/base/CMakeLists.txt": "medgen_core_module(base DEPENDS io)\n"})
        self.assertEqual(len(problems), 1, problems)
        self.assertIn("base -> io -> base", problems[0])

    def test_plugins_see_neither_core_nor_each_other(self):
        self.assert_clean("plugins/maisi/a.cpp", '"plugins/support/nn/conv.h"')
        self.assert_clean("plugins/maisi/a_test.cpp", '"core/io/nifti.h"')
        self.assert_refused("plugins/maisi/a.cpp", '"core/io/nifti.h"', "never through core")
        self.assert_refused("plugins/maisi/a.cpp", '"plugins/gem3d/b.h"', "another plugin")
        self.assert_refused("plugins/support/nn/a.h", '"plugins/maisi/b.h"', "another plugin")

    def test_heavy_headers_are_refused(self):
        self.assert_refused("plugins/maisi/a.cpp", "<torch/torch.h>", "15 s")
        self.assert_refused("core/io/a.h", "<nlohmann/json.hpp>", "belongs into .cpp")
        self.assert_clean("core/config/a.h", "<nlohmann/json.hpp>")

    def test_paths_of_a_machine_are_refused(self):
        for path in ("/" + "root/x", "/" + "opt/y", "see /" + "work/z", "../" + "shared/data"):
            problems = self.found({"docs/a.md": f"line\n{path}\n"})
            self.assertEqual(len(problems), 1, path)
            self.assertIn("docs/a.md:2:", problems[0])
        self.assertEqual(self.found({"docs/a.md": "plugins/root/x ~/work/y $HOME/opt/z\n"}), [])

    def test_long_files_and_files_without_a_licence_are_refused(self):
        self.assertIn("longer than 500", self.found({"core/io/a.cpp": SPDX + "\n" * 501})[0])
        self.assertIn("names no licence", self.found({"core/io/a.cpp": "int x;\n"})[0])


if __name__ == "__main__":
    unittest.main()
