# SPDX-License-Identifier: Apache-2.0
# The two commands of the README, and shortcuts for contributors. Each does all the set-up it needs.
#   PRESET=ci   another preset of CMakePresets.json that builds into build/release
#   JOBS=4      how many compilers and tests run at the same time
PRESET ?= release
JOBS ?= $(shell nproc)
BUILD := build/release
CMAKE_FLAGS ?=

# A target that failed halfway is not taken for done.
.DELETE_ON_ERROR:
.PHONY: help setup build tools test demo bench install format check-format clean

help:
	@echo 'make demo          set up, build, generate hippocampus MR volumes from label maps; says where the picture is'
	@echo 'make test          set up, build, run the tests'
	@echo 'make bench         time the networks beside MONAI (installs it below build/); an hour on two cores'
	@echo 'make build         set up and build into $(BUILD)'
	@echo 'make install       build and install; PREFIX=DIR, default /usr/local'
	@echo 'make format        format the sources (clang-format 14); make check-format only looks'
	@echo 'make clean         remove the build folders; what tools/setup installed stays'
	@echo 'MEDGEN_LIBTORCH=DIR uses an existing LibTorch instead of the pinned wheel.'

setup:
	@tools/setup

$(BUILD)/build.ninja: CMakePresets.json | setup
	cmake --preset $(PRESET) $(CMAKE_FLAGS)

build: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)

test: build
	@ctest --test-dir $(BUILD) -LE 'gpu|slow' --output-on-failure -j $(JOBS)

# What the demo needs, without the tests.
tools: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target medgen_tools

demo: tools
	@tools/demo $(BUILD)/bin/medgen-run

bench: build
	@tests/bench/bench

PREFIX ?= /usr/local
install: build
	cmake --install $(BUILD) --prefix $(PREFIX)

format:
	@tools/format

check-format:
	@tools/format --check

clean:
	rm -rf build
