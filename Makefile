# `make train` and `make test` do everything, set-up included.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT ?= runs/mnist
# Options for pytest, as in `make test ARGS="-m 'not slow'"`.
ARGS ?=

# Small products are many times slower on several BLAS threads as soon as another process runs.
test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_NUM_THREADS = 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train test bench lint wheel clean

help: ## say what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

train: $(VENV)/.for-train ## train a network on MNIST and save it in OUT (runs/mnist)
	$(BIN)/gpunn train mnist --out $(OUT)

test: lint ## run every test
	$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.for-bench ## compare speed with the neighbours, into benchmarks/results
	$(BIN)/python benchmarks/mnist_mlp.py

lint: $(VENV)/.for-test ## check style and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m mypy

wheel: $(VENV)/.for-test ## build the wheel in dist/
	$(BIN)/python -m build

clean: ## remove .venv and what was built, keep runs/
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) must be Python 3.10 or newer; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu:" \
	    "sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The stamps are renewed when the list of dependencies may have changed.
$(VENV)/.for-train: pyproject.toml | $(BIN)/python
	extra=$$($(PYTHON) -I gpunn/cli/cuda_extra.py) && \
	  $(PIP) install --quiet --editable ".$${extra:+[$$extra]}"
	@touch $@

$(VENV)/.for-bench: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --editable '.[bench]'
	@touch $@

$(VENV)/.for-test: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --editable '.[test]'
	@touch $@
