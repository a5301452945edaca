# Makefile - every task of the project, each setting up what it needs; `make help` lists them.
#
# All run in a virtual environment of their own, .venv, which is made on first use and then kept
# until pyproject.toml, setup.py or a C or Cython source changes. PYTHON= names another interpreter.

PYTHON ?= python3
VENV   := .venv
TORCH  := 2.13.0
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq
TIERS   = $$($(BIN)/python -c "import fastcnn._kernels as k; print(*[n for n, ok in k.isa_tiers() if ok and n != k.isa_active()])")

EXAMPLES := $(filter-out common,$(basename $(notdir $(wildcard examples/*.py))))
SOURCES  := pyproject.toml setup.py $(wildcard csrc/*.[ch] bindings/*.p[yx]*)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train examples docs pictures test lint format types sanitize harness wheel bench bench-peers clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(VENV)/ready-viz,data ## train LeNet-5 on MNIST (EPOCHS=10); the last line is the test accuracy
	@$(BIN)/fastcnn train --model lenet5 --data mnist --epochs $(or $(EPOCHS),10) --output runs/lenet5

test: $(VENV)/ready-test ## the whole test suite with coverage and doctests; ops and plan again on the other tiers, in float32
	$(BIN)/python -m pytest -n auto --doctest-modules fastcnn tests \
	    --cov --cov-branch --cov-report=term
	@set -e; for tier in $(TIERS); do \
	    echo "== tests/ops and tests/plan on the $$tier tier"; \
	    FASTCNN_ISA=$$tier $(BIN)/python -m pytest -n auto -q -k "not float64" tests/ops tests/plan; \
	done

examples: $(VENV)/ready-viz,data ## run all of examples/ in full (an hour), with their pages' output (ONLY=name)
	@set -e; for name in $(or $(ONLY),$(EXAMPLES)); do \
	    echo "== $$name"; $(BIN)/python examples/$$name.py; \
	done

docs: $(VENV)/ready-docs ## the site, into docs/_build (index.html); warnings are errors
	rm -rf docs/_build docs/api/generated
	$(BIN)/sphinx-build -q -W --keep-going -j auto -b html docs docs/_build

pictures: $(VENV)/ready-viz,data ## draw the pictures of docs/lectures again
	$(BIN)/python docs/make_pictures.py

lint: $(VENV)/ready-dev ## ruff: rules, and the format of Python
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/ready-dev ## rewrite Python in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/ready-dev ## mypy
	$(BIN)/mypy

harness: ## the C core's own tests, without Python
	$(MAKE) -C tests/csrc run

sanitize: ## the same under ASan + UBSan, TSan and, where installed, valgrind and qemu-aarch64
	$(MAKE) -j2 -C tests/csrc asan tsan valgrind neon

wheel: $(VENV)/ready-dev ## sdist and wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation -o dist .

bench: $(VENV)/ready-bench ## every kernel, verified and timed (pytest-benchmark)
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-columns=min,median,rounds $(ARGS)

bench-peers: ## the table beside PyTorch, into docs/benchmarks.md (OUT=file, ARGS="--isa avx2 ...")
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/torch
	.venv-bench/bin/python -m benchmarks.peers_table --out $(or $(OUT),docs/benchmarks.md) $(ARGS)

clean: ## remove all that was made here, the environment included
	rm -rf $(VENV) .venv-bench build dist *.egg-info fastcnn/_kernels*.so .coverage tests/csrc/build
	rm -rf docs/_build docs/api/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find fastcnn tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment with what a build needs. Pip gives up on a blocked network after seconds.
$(VENV)/base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("fastcnn needs Python 3.11 or later, got " + sys.version)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	    { echo "Could not make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	$(PIP) install "setuptools>=77" "Cython>=3.1" "numpy>=2"
	@touch $@

# An editable install of the package with the extra of that name; compiles only what changed.
$(VENV)/ready-%: $(VENV)/base $(SOURCES)
	$(PIP) install --no-build-isolation -e '.[$*]'
	@touch $@

# PyTorch, in the environment of its own that bench-peers makes; the CPU build where it is found.
$(VENV)/torch: $(VENV)/ready-bench
	$(PIP) install --extra-index-url https://download.pytorch.org/whl/cpu torch==$(TORCH) onnx onnxruntime
	@touch $@
