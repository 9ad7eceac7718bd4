# Two commands for a newcomer: `make demo` and `make test`. Both make .venv on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed
QUICK := tests/layers/test_floors.py tests/core/test_action_space.py tests/core/test_contracts.py \
  tests/core/test_decision.py tests/core/test_encoder.py tests/core/test_utility.py tests/core/test_registry.py \
  tests/core/test_settings.py tests/core/test_outcome_metrics.py tests/plugins/test_heuristic.py

.PHONY: acceptance demo test test-slow oldest fuzz check lint types format reference site clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group docs
	touch $@

demo: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: $(STAMP)
	$(BIN)/python -m pytest -q -m 'not slow' -n auto --maxprocesses 4 --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

# The tests of the core with the oldest versions that pyproject.toml allows, in .venv-oldest.
oldest:
	PYTHON=$(PYTHON) bash .ci/oldest

# About an hour of random documents and bundles, from a new seed each time; the suite runs a minute of it.
fuzz: $(STAMP)
	PLANNER_FUZZ_EXAMPLES=80000 $(BIN)/python -m pytest -q tests/runtime/test_fuzz.py -n 2

# Every criterion of the design with its figure and the command behind it; about three minutes.
acceptance: $(STAMP)
	$(BIN)/planner bench acceptance

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
	$(BIN)/python docs/make_commands.py
	$(BIN)/python docs/make_errors.py
	$(BIN)/python docs/make_files.py
	$(BIN)/python -m planner_serve.openapi

# The documentation as pages that a browser reads from the folder build/site, with nothing from anywhere else.
site: $(STAMP) $(DOCS_STAMP)
	$(BIN)/python docs/site/stage.py before build
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file build/mkdocs.yml
	$(BIN)/python docs/site/stage.py after build
	$(BIN)/python docs/site/check.py build/site

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
