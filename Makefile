# Every target sets up what it needs; a second call is quick. `make help` lists them.

VENV ?= .venv
TORCH ?= 2.13.0
TORCH_INDEX ?=
QUICK ?= 0
SEEDS ?= 0 1 2
ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/ready-torch-$(TORCH)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup broker demo demo-seeds test lint types wheel clean

help: ## this list
	@echo "make TARGET [NAME=value ...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Values:"
	@echo "  QUICK=1            a demo of at most 4 minutes: same parts, no ratio claimed"
	@echo "  SEEDS=\"0 1 2\"      the seeds of demo-seeds; finished ones are not run again"
	@echo "  ARGS=\"...\"         passed on: to pytest by test, to the programs by demo and demo-seeds"
	@echo "  PYTHON=python3.12  the interpreter of the virtual environment (3.11 or newer)"
	@echo "  VENV=.venv         where the virtual environment goes"
	@echo "  TORCH_INDEX=URL    where pip takes PyTorch from. On x86 PyPI's build brings CUDA, some 3 GB;"
	@echo "                     https://download.pytorch.org/whl/cpu has the CPU build, 200 MB, which is enough"
	@echo "  TORCH=2.13.0       the version of PyTorch"

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

clean: ## remove what was built; runs/ and the virtual environment stay
	rm -rf build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
