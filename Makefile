# Two commands for a newcomer: `make demo` and `make test`. Both make .venv on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
QUICK := tests/layers/test_floors.py tests/core tests/plugins/test_heuristic.py

.PHONY: demo test test-slow check lint types format reference clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: $(STAMP)
	$(BIN)/python -m pytest -q -m 'not slow' -n auto --maxprocesses 4 --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

# For daily use: what takes under a minute of it all.
check: format types
	$(BIN)/python -m pytest -q -m 'not slow' -n auto --maxprocesses 4 --dist loadfile $(QUICK)

lint: $(STAMP) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

reference: $(STAMP)
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_door.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
