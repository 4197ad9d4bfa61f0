# make quickstart: install, train natural, PGD-AT and IAAT on handwritten digits, print one table.
# make setup: install what developing needs, and the hooks that run before a commit.
# make check: lint, types and the tests of what changed since main; seconds to minutes.
# make test: the test suite; make peers: comparisons with other libraries; make test-all: both and what is slow.
# make examples: install what examples/ needs, and run each.
# make example-page: train what the example of a report shows, on digits, and write it to docs/example.html.
# make vendor: copy the report page's Plotly from the npm registry again, in the version of package.json.
# make docs: the documentation site, in site/; a warning is an error; make notebooks: run its notebooks again.
# make test-torch VERSION=2.9.1: core tests with that version of PyTorch; VERSION=oldest (default) or newest.
# make bench-gpu: tests, attack, steps and several runs at once on a GPU.
# make bench: install the peers too, measure attack, step, data and memory, write docs/results/speed.md; see benchmarks/README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Where pip keeps what may be built with: PIP_CONSTRAINT until 25.2, PIP_BUILD_CONSTRAINT since.
BUILD_CONSTRAINTS := benchmarks/build-constraints.txt

.PHONY: quickstart example-page setup lint lint-scripts vendor check test peers examples test-all test-torch docs notebooks bench bench-gpu clean

quickstart: $(VENV)/.installed
	$(BIN)/iaat compare quickstart-natural quickstart-pgd-at quickstart --seeds 0 1 2 --out runs/quickstart

# Nothing is trained anew where runs/quickstart has it.
example-page: quickstart
	$(BIN)/iaat report runs/quickstart -o docs/example.html

setup: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

lint: $(VENV)/.installed-dev lint-scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The report page's scripts are checked where Node.js is installed and the npm registry can be reached.
lint-scripts:
	@if command -v npm >/dev/null && $(MAKE) --silent node_modules/.installed; then npm run --silent lint; \
	else echo "Node.js or the npm registry is missing: the report page's scripts are not checked"; fi

PLOTLY := node_modules/plotly.js-cartesian-dist-min

vendor: node_modules/.installed
	cp $(PLOTLY)/plotly-cartesian.min.js src/iaat/report/vendor/
	cp $(PLOTLY)/LICENSE src/iaat/report/vendor/plotly-cartesian.LICENSE
	cd src/iaat/report/vendor && sha256sum plotly-cartesian.* > SHA256SUMS

# With more than one thread the workers would fight for the processors.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
WORKERS ?= 2
# The kill harness has the processors for itself, because where its kills come hangs on how fast a run gets on.
KILL_HARNESS := tests/reliability/test_kill.py
# `make test-all` fuzzes and soaks for hours.
FUZZ_RUNS ?= 50000
SOAK_HOURS ?= 2

check: lint
	$(PYTEST) $$($(BIN)/python tests/changed.py $(SINCE))

test: $(VENV)/.installed-dev
	$(PYTEST) -n $(WORKERS) --dist loadfile -m 'not slow' --ignore $(KILL_HARNESS) --ignore tests/peers
	KILLS=10 $(BIN)/python -m pytest $(KILL_HARNESS)

peers: $(VENV)/.installed-peers
	$(BIN)/python -c 'import adv_lib, art, cv2, imagecorruptions, torchattacks'  # else their tests would be skipped
	$(PYTEST) tests/peers

examples: $(VENV)/.installed-examples
	$(BIN)/python -c 'import accelerate, cleanlab, datasets, lightning, transformers, wandb'  # else their tests would be skipped
	$(PYTEST) tests/examples

test-all: test peers examples docs
	$(PYTEST) -n $(WORKERS) -m slow --ignore tests/peers
	$(MAKE) test-torch VERSION=oldest
	$(MAKE) test-torch VERSION=newest
	$(NOTEBOOKS) --output-dir runs/notebooks
	KILLS=50 $(BIN)/python -m pytest $(KILL_HARNESS)
	$(BIN)/python tests/fuzz/recipe_fuzzer.py -runs=$(FUZZ_RUNS) -seed=1 runs/fuzz/recipes
	$(BIN)/python tests/fuzz/image_fuzzer.py -runs=$(FUZZ_RUNS) -seed=1 runs/fuzz/images
	$(BIN)/python tests/fuzz/reader_fuzzer.py --cases $(FUZZ_RUNS)
	$(BIN)/python tests/soak/soak.py --hours $(SOAK_HOURS) --out runs/soak.jsonl

# The oldest version is the lower bound in pyproject.toml. In a virtual environment of its own, which takes 5 GB and is removed.
VERSION ?= oldest
TORCH_VENV := .venv-torch
TORCH_CORE := tests/attacks tests/radius tests/methods tests/models tests/runs/test_checkpoint.py tests/runtime/test_device.py \
    tests/runtime/test_rng.py tests/train/test_trainer.py tests/train/test_ema.py tests/train/test_nonfinite.py
torch = $(if $(filter newest,$(VERSION)),>=2,==$(if $(filter oldest,$(VERSION)),$(shell sed -n 's/.*"torch>=\(.*\)",/\1/p' pyproject.toml),$(VERSION)))

test-torch:
	rm -rf $(TORCH_VENV)
	$(PYTHON) -m venv $(TORCH_VENV)
	grep -Ev '^(torch|torchvision|timm)==' constraints.txt > $(TORCH_VENV)/constraints.txt
	$(TORCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
	    -c $(TORCH_VENV)/constraints.txt 'torch$(torch)' -e . hypothesis pytest
	$(TORCH_VENV)/bin/python -c 'import torch, torchvision; print("PyTorch", torch.__version__, "torchvision", torchvision.__version__)'
	OMP_NUM_THREADS=1 $(TORCH_VENV)/bin/python -m pytest $(TORCH_CORE)
	rm -rf $(TORCH_VENV)

NOTEBOOKS := OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m nbconvert --to notebook --execute \
    --ExecutePreprocessor.record_timing=False docs/notebooks/*.ipynb
# Runs the notebooks and stores them with what they print.
notebooks: $(VENV)/.installed-docs
	$(NOTEBOOKS) --inplace

docs: $(VENV)/.installed-docs
	$(BIN)/python docs/site/build.py

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/attack.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/overview.py

# Sized for ten minutes on a GPU of a data centre; that was not measured.
bench-gpu: $(VENV)/.installed-bench $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/gpu
	$(BIN)/python benchmarks/attack.py --model resnet18 --repeats 5
	$(BIN)/python benchmarks/step.py --model resnet18 --repeats 5
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/many_runs.py --width 16 64 --at-once 1 8

node_modules/.installed: package.json package-lock.json
	npm ci --silent --no-audit --no-fund --fetch-retries=1 --fetch-timeout=20000
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "iaat needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing iaat and PyTorch into $(VENV) (a few minutes)"
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

# Without their own requirements: one of them asks for versions of requests and urllib3 that selenium does not take.
$(VENV)/.installed-peers: $(VENV)/.installed-dev
	$(PIP_INSTALL) --no-deps $$($(BIN)/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["peers"])')
	@touch $@

$(VENV)/.installed-examples: $(VENV)/.installed-dev
	$(PIP_INSTALL) -e '.[examples]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[docs]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed $(BUILD_CONSTRAINTS)
	PIP_CONSTRAINT=$(BUILD_CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(BUILD_CONSTRAINTS) $(PIP_INSTALL) -e '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) $(TORCH_VENV) node_modules .pytest_cache .mypy_cache .ruff_cache
