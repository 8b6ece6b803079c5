# The commands of this project; each sets up by itself what it needs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.NOTPARALLEL:
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# scripts/env.sh is the one place that knows PATH, locale and where unpacked packages lie.
IN = . scripts/env.sh;
BIN := .venv/bin

# What only the tests on real kernels need: without it they skip, saying so (with CI=true: fail).
REAL_NEEDS := qemu gcc binutils libc-symbols
AARCH64_NEEDS := qemu-arm gcc-aarch64 gcc-arm gdb-multiarch
OTHER_NEEDS := qemu-misc qemu-ppc gcc-riscv64 gcc-s390x gcc-ppc64le
# "-p NAME" for each package whose imports are ruled too.
PACKAGES := $(shell sed -n '/^root_packages = \[/,/^\]/s/^ *"\(.*\)",*/-p \1/p' pyproject.toml)
# What gdb's own Python loads, which may be 3.6; vermin knows the syntax and library of each.
IN_GDB := domain/__init__.py domain/arch domain/kernel domain/address_space.py \
    domain/errors.py domain/page_tables.py domain/page_walk.py domain/virtual_memory.py \
    domain/vmcoreinfo.py gdb
# The slow ones last.
TESTS := $(wildcard tests/unit tests/gdb tests/gdb_script) tests/real
PYTEST = $(IN) $(BIN)/python -m pytest -rs

.PHONY: help setup demo test test-everything trust unit check bench real fuzz clean

help: ## list these commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

setup: ## install what the program and its tests need (root: Debian packages; else below ~/.cache)
	@scripts/setup python gdb --optional libkdumpfile lldb $(REAL_NEEDS) $(AARCH64_NEEDS)

demo: ## serve a small sample dump and look at it with gdb
	@scripts/setup python gdb
	scripts/demo

test: setup check ## check the code, then run every test
	@scripts/test $(TESTS)
	scripts/fuzz --short

test-everything: setup check ## as test, and on dumps of every architecture and kernel there is
	@scripts/setup --optional $(OTHER_NEEDS)
	KDUMP_GDBSERVER_EVERYTHING=1 scripts/test $(TESTS)
	scripts/fuzz --short

trust: setup ## compare every real dump with drgn and QEMU, and write docs/trust.md
	@scripts/setup --optional $(OTHER_NEEDS)
	scripts/trust --full

unit: ## run the tests that need no dump and no gdb
	@scripts/setup python
	$(PYTEST) tests/unit

real: setup ## run the tests on real dumps of real kernels only
	@$(PYTEST) tests/real

check: ## lint, format and type checks, and the rules on who may import whom
	@scripts/setup python
	$(IN) set -x
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(PACKAGES)
	$(BIN)/mypy --strict tests/support tests/unit
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips --eval-annotations --violations --target=3.6- $(IN_GDB)

bench: ## measure this server beside gdbserver, and draw docs/benchmarks.png
	@scripts/setup python gdb gdbserver $(REAL_NEEDS)
	$(IN) $(BIN)/python -m benchmarks
	$(BIN)/python -c 'import matplotlib' 2>/dev/null ||
	    $(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks.chart

fuzz: ## fuzz the readers of foreign bytes for a short while (FUZZ_SECONDS=20 for each of them)
	@scripts/setup python
	scripts/fuzz --seconds $(or $(FUZZ_SECONDS),20)

clean: ## remove what these commands made here (not the packages below ~/.cache)
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
