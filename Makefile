# `make train` and `make test` do everything, set-up included.
GIVEN_PYTHON := $(PYTHON)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOUND_PYTHON = $(firstword $(wildcard $(BIN)/python) $(PYTHON))
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL = echo "Installing; compiling the CPU kernels, if any are out of date, may take minutes" && \
  $(PIP) install --quiet --editable
OUT ?= runs/mnist
# Options for pytest or the benchmarks, as in `make test ARGS="-k dropout"`.
ARGS ?=
# A test process for each core, four at most; with PARALLEL= all tests run in one, as --pdb needs.
PARALLEL ?= --numprocesses auto --maxprocesses 4 --dist worksteal
# A folder of the package, as in `make test AREA=layers`: its tests, and others that run its lines.
AREA ?=

# What tests and checks keep, for all clones of a machine: an unchanged file is checked once.
CACHE ?= $(or $(GPUNN_TEST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gpunn/tests)
# With ccache, clones of a machine share compiled kernels: an unchanged one is compiled once. Its
# folder has compilers of the usual names, which every tool finds.
CCACHE := $(firstword $(wildcard /usr/lib/ccache /usr/lib64/ccache /opt/homebrew/opt/ccache/libexec))
ifneq ($(CCACHE),)
export PATH := $(CCACHE):$(PATH)
endif
# In test processes too, which build wheels in folders of their own, with headers of this clone's.
export CCACHE_NOHASHDIR = true
export CCACHE_BASEDIR = $(CURDIR)

# Small products are many times slower on several BLAS threads as soon as another process runs.
test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_NUM_THREADS = 1

# Tests start hundreds of processes: without its bytecode each would compile gpunn anew.
test: export PYTHONDONTWRITEBYTECODE =
test-more: export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train test test-more newest-pythons bench bench-full bench-guard suite-times gpu kernels web picture counters coverage lint docs notebooks formulas exports wheel wheels arm64-python release clean

help: ## say what there is to make
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

train: $(VENV)/.for-train ## train a network on MNIST and save it in OUT (runs/mnist)
	$(BIN)/gpunn train mnist --out $(OUT)

test: lint ## run the tests: a quarter of an hour (AREA=layers: those of a folder)
	$(BIN)/python -m pytest $(PARALLEL) $(if $(AREA),--area $(AREA)) $(ARGS)

test-more: export OPENBLAS_NUM_THREADS = 1
test-more: export OMP_NUM_THREADS = 1
test-more: $(VENV)/.for-test $(VENV)/.for-web $(VENV)/.for-sass $(VENV)/.for-trackers ## run what takes too long for every run, as browsers, sanitizers, an interrupt at each line
	$(BIN)/python -m pytest $(PARALLEL) -m more --timeout 3600 -o faulthandler_timeout=4000 $(ARGS)
	$(BIN)/python -m benchmarks.counts.suite check
	@$(if $(ARGS)$(shell git status --porcelain 2>&1),,git update-ref refs/tests/green $(shell git rev-parse HEAD))

suite-times: $(VENV)/.for-test ## write the CPU seconds of the last whole `make test`, by folder, in benchmarks/results
	$(BIN)/python -m benchmarks.counts.suite write

newest-pythons: | $(BIN)/python ## fetch the newest Pythons of Debian testing, for test-more
	$(BIN)/python tools/newest_pythons.py

coverage: $(VENV)/.for-test ## check that the tests reach 95% of what runs on a GPU
	$(BIN)/python -m coverage run -m pytest --quiet \
	  tests/backends/test_cupy_backend.py tests/backends/test_parity.py tests/kernels/test_kernels_compile.py
	$(BIN)/python -m coverage report

bench: $(VENV)/.for-bench ## compare with the neighbours, and once more held to AVX2: 70 minutes (ARGS=--quick: 4)
	$(BIN)/gpunn bench $(ARGS)
	$(BIN)/gpunn bench $(ARGS) --instructions avx2

bench-full: $(VENV)/.for-bench ## the same at full length, and how cost grows: 90 minutes
	$(BIN)/gpunn bench --full $(ARGS)
	$(BIN)/python -m benchmarks.scale.curves

bench-guard: $(VENV)/.for-test ## compare the instructions of six short pieces of work with COMMIT's (the parent's): 5 minutes
	$(BIN)/python -m benchmarks.counts.guard $(COMMIT)

# No .venv is made: PYTHON, or what there is, brings gpunn's dependencies, CuPy and pytest.
gpu: ## test and measure on the NVIDIA GPU of this machine: ARGS="--minutes 10"
	GPUNN_BACKEND=$(or $(GPUNN_BACKEND),cupy) $(or $(GIVEN_PYTHON),$(FOUND_PYTHON)) -m benchmarks.gpu.run $(ARGS)

kernels: $(VENV)/.for-test $(VENV)/.for-sass ## list what each kernel takes of a GPU, as the compiler says
	$(BIN)/python -m benchmarks.gpu.kernel_table
	$(BIN)/python -m benchmarks.gpu.hot_kernels
	$(BIN)/python -m benchmarks.gpu.constants

picture: $(VENV)/.for-test ## take the pictures of pages, by Chromium, and draw those of the tutorials
	$(BIN)/python tools/playground_picture.py
	$(BIN)/python tools/report_picture.py
	$(BIN)/python tools/tutorial_pictures.py

web: $(VENV)/.for-web ## compile the kernels for browsers, after one has changed: three minutes
	$(BIN)/python tools/web.py

counters: $(VENV)/.for-test ## count calls, arrays and bytes of a step, in benchmarks/results
	$(BIN)/python -m benchmarks.counts.counters

lint: $(VENV)/.for-test ## check style and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m mypy --cache-dir $(CACHE)/mypy

docs: $(VENV)/.for-test ## write what pages take from the program, and build the site in build/docs
	$(BIN)/python tools/docs.py
	$(BIN)/python -m sphinx --fail-on-warning --quiet -d build/doctrees docs build/docs

notebooks: $(VENV)/.for-test ## run notebooks of examples/ and lessons of the course, and write their outputs into them
	$(BIN)/python tools/notebooks.py
	$(BIN)/python tools/course.py

formulas: | $(BIN)/python ## write formulas for the kernels, after one in Python has changed
	$(BIN)/python tools/formulas.py

exports: | $(BIN)/python ## write what packages export, and the list of public names, after one has changed
	$(BIN)/python tools/exports.py
	$(BIN)/python tools/names.py

wheel: export GPUNN_BUILD := $(or $(GPUNN_BUILD),all)
wheel: $(VENV)/.for-test ## build the wheel in dist/
	$(BIN)/python -m build

wheels: $(VENV)/.for-wheels ## build and audit the wheels of Linux and the source archive in dist/: fifteen minutes
	$(BIN)/python tools/wheels.py $(ARGS)

arm64-python: | $(BIN)/python ## fetch Debian's Python for ARM64 and QEMU, for test-more
	$(BIN)/python tools/arm64_python.py

release: $(VENV)/.for-test ## set VERSION, date the changelog, build and check; it publishes nothing
	@$(BIN)/python tools/release.py "$(VERSION)" --date "$(DATE)"

clean: ## remove .venv and what was built, keep runs/
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f gpunn/backends/compiled/_kernels_* gpunn/backends/compiled/not_built.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) must be Python 3.11 or newer; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu:" \
	    "sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The stamps are renewed when the list of dependencies or the compiled kernels may have changed.
# An installation compiles those in place that are not up to date: for the CPU of this machine, or,
# to be tested, for all that a released wheel serves. GPUNN_BUILD=none compiles none.
PACKAGE := pyproject.toml setup.py $(wildcard kernels/formulas/*.cuh kernels/cpu/* kernels/*.cpp)

$(VENV)/.for-train: $(PACKAGE) | $(BIN)/python
	@extra=$$($(PYTHON) -I gpunn/backends/cupy/driver/cuda_extra.py) && $(INSTALL) ".$${extra:+[$$extra]}"
	@touch $@

$(VENV)/.for-bench: export GPUNN_BUILD := $(or $(GPUNN_BUILD),all)
$(VENV)/.for-bench: $(PACKAGE) | $(BIN)/python
	@$(INSTALL) '.[bench]'
	@touch $@

$(VENV)/.for-test: export GPUNN_BUILD := $(or $(GPUNN_BUILD),all)
$(VENV)/.for-test: $(PACKAGE) | $(BIN)/python
	@$(INSTALL) '.[test]'
	@touch $@

$(addprefix $(VENV)/.for-,sass trackers web wheels): $(VENV)/.for-%: pyproject.toml | $(BIN)/python
	@$(INSTALL) '.[$*]'
	@touch $@
