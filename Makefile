# `make help` lists the targets. Everything runs in .venv, which is installed from requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env repro smoke test lint lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

env: $(STAMP) ## set up .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is required; if it is not on PATH, run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

repro: $(STAMP) ## pull the data and run the whole pipeline
	dvc pull --quiet data.dvc
	dvc repro

smoke: $(STAMP) ## run the pipeline on presets/smoke.yaml twice; the second run must do nothing
	./tests/smoke.sh

test: $(STAMP) ## run the tests
	pytest -n 2 --dist loadfile

lint: $(STAMP) ## check style, types and import layers
	ruff check .
	ruff format --check .
	mypy
	lint-imports

lock: $(STAMP) ## update requirements.lock from pyproject.toml
	pip-compile --quiet --extra dev --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --output-file requirements.lock pyproject.toml
	sed -i 's/^\(torch==[^+]*\)+.*/\1/' requirements.lock

clean: ## remove outputs of the pipeline and the tests; keep data, runs and .venv
	rm -rf prepared bases models training predictions ensembles evaluation behaviour exports bench report receipts registry checkpoints logs .pytest_cache .ruff_cache .mypy_cache
