# Every target sets up what it needs; a second call is quick. `make help` lists them.

VENV ?= .venv
TORCH ?= 2.13.0
TORCH_INDEX ?=
ARM64_ROOT ?= build/arm64-root
ARM64_RUNTIME ?= onnx
QUICK ?= 0
SEEDS ?= 0 1 2
ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/ready-torch-$(TORCH)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup broker emulator demo demo-seeds test lint types wheel arm64 ci-full clean

help: ## this list
	@echo "make TARGET [NAME=value ...]"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Values:"
	@echo "  QUICK=1            a demo of at most 4 minutes: same parts, no ratio claimed"
	@echo "  SEEDS=\"0 1 2\"      the seeds of demo-seeds; finished ones are not run again"
	@echo "  ARGS=\"...\"         passed on: to pytest by test, to the programs by demo and demo-seeds"
	@echo "  PYTHON=python3.12  the interpreter of the virtual environment (3.11 or newer)"
	@echo "  VENV=.venv         where the virtual environment goes"
	@echo "  TORCH_INDEX=URL    where pip takes PyTorch from. On x86 PyPI's build brings CUDA, some 3 GB;"
	@echo "                     https://download.pytorch.org/whl/cpu has the CPU build, 200 MB, which is enough"
	@echo "  TORCH=2.13.0       the version of PyTorch"
	@echo "  ARM64_ROOT=DIR     where arm64 keeps its Debian (build/arm64-root): a gigabyte, used again"
	@echo "  ARM64_RUNTIME=onnx the runtime that trains in its round"

setup: $(READY) ## the virtual environment with everything in it

# PyTorch first and alone: a range in the extras would take the newest build, and with it CUDA.
$(READY): pyproject.toml tools/set_up.sh
	@tools/set_up.sh venv $(VENV) $(PYTHON)
	@echo "installing PyTorch $(TORCH) and the packages of pyproject.toml into $(VENV): a few minutes, once"
	@$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$(TORCH)
	@$(PIP) install --editable '.[server,dev]'
	@rm -f $(VENV)/ready-*
	@touch $@

broker: ## Mosquitto, from the system's packages
	@tools/set_up.sh broker

emulator: ## qemu and debootstrap, from the system's packages, for arm64 (root only)
	@tools/set_up.sh emulator

demo: $(READY) broker ## six virtual boards train one model three ways, and a report (at most 20 minutes)
	@$(BIN)/python -m tools.demo $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

demo-seeds: $(READY) broker ## the demo once per seed, then medians and ranges (an hour and more)
	@$(BIN)/python -m tools.demo_seeds $(SEEDS) $(ARGS)

test: $(READY) broker ## all tests
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## ruff, its format, and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY) ## mypy
	@$(BIN)/mypy

wheel: $(READY) ## dist/fimi-*.whl
	@rm -rf dist
	@$(PIP) wheel --no-deps --wheel-dir dist .
	@ls dist/*.whl

arm64: emulator $(READY) broker wheel ## fimi[onnx] on emulated arm64 Debian 12, and a round there (root only)
	@$(BIN)/python -m tools.arm64 --folder $(ARM64_ROOT) --runtime $(ARM64_RUNTIME) $(ARGS)

# Writes its result even where an environment fails; the last one is committed.
ci-full: $(READY) broker wheel ## each extra in an environment of its own, then arm64; tools/evidence/ci-full.*
	@$(BIN)/python -m tools.ci_full --torch $(TORCH) --arm64-root $(ARM64_ROOT) $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(ARGS)

clean: ## remove what was built; runs/ and the virtual environment stay
	rm -rf build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
