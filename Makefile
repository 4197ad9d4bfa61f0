# make quickstart: install, train natural, PGD-AT and IAAT on handwritten digits, print one table.
# make test: install, run the whole test suite.
# make bench: install the peers too, measure attack, step, data and memory; see benchmarks/README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Where pip keeps what may be built with: PIP_CONSTRAINT until 25.2, PIP_BUILD_CONSTRAINT since.
BUILD_CONSTRAINTS := benchmarks/build-constraints.txt

.PHONY: quickstart test bench lint clean

quickstart: $(VENV)/.installed
	$(BIN)/iaat compare quickstart-natural quickstart-pgd-at quickstart --seeds 0 1 2 --out runs/quickstart

# A thread for each worker: with more they would fight for the processors. The kill harness is given them for itself,
# because where its kills come hangs on how fast a run gets on.
WORKERS ?= 2
KILLS := tests/reliability/test_kill.py

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --ignore $(KILLS)
	$(BIN)/python -m pytest $(KILLS)

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/attack.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/memory.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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

$(VENV)/.installed-bench: $(VENV)/.installed $(BUILD_CONSTRAINTS)
	PIP_CONSTRAINT=$(BUILD_CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(BUILD_CONSTRAINTS) $(PIP_INSTALL) -e '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
