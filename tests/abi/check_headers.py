#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles each header of a folder alone, with every warning that matters as an error.

usage: check_headers.py COMPILER STANDARD FOLDER [--include DIR]... [--padded]

FOLDER is searched for *.h and *.hpp, and is an include directory itself. --padded also refuses implicit padding in structs.
"""
import argparse
import re
import subprocess
import sys
from pathlib import Path


def program(header, text):
    """A source file that includes the header and lays out every struct in it (clang warns of padding only then)."""
    lines = [f"#include <{header}>", "extern int medgen_header_is_not_empty;"]
    for name in re.findall(r"^typedef struct (medgen_\w+) \{", text, re.MULTILINE):
        lines.append(f"extern char medgen_size_of_{name}[sizeof(struct {name})];")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compiler")
    parser.add_argument("standard")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("--padded", action="store_true")
    options = parser.parse_args()

    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"] + ["-Wpadded"] * options.padded
    flags += [f"-I{folder}" for folder in (options.folder, *options.include)]
    language = "c" if options.standard.startswith("c1") else "c++"
    headers = sorted(path for path in options.folder.rglob("*") if path.suffix in (".h", ".hpp"))
    if not headers:
        sys.exit(f"no headers in {options.folder}")
    failed = 0
    for path in headers:
        header = path.relative_to(options.folder).as_posix()
        command = [options.compiler, f"-std={options.standard}", "-x", language, *flags, "-fsyntax-only", "-"]
        done = subprocess.run(command, input=program(header, path.read_text()), text=True, capture_output=True, check=False)
        if done.returncode != 0:
            failed += 1
            print(f"{header} does not compile alone:\n{done.stderr}")
    print(f"{len(headers) - failed} of {len(headers)} headers compile alone with {options.compiler} -std={options.standard}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
