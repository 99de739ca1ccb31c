# `make help` lists the targets. Everything runs in .venv, made from requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env repro smoke test lint lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

env: $(STAMP) ## make the environment from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; name it with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

repro: $(STAMP) ## pull the data and run the whole pipeline
	dvc pull --quiet data.dvc
	dvc repro

smoke: $(STAMP) ## the same pipeline on presets/smoke.yaml, twice: the second time must do nothing
	./tests/smoke.sh

test: $(STAMP) ## run the tests
	pytest -n 2 --dist loadfile

lint: $(STAMP) ## check style and types
	ruff check .
	ruff format --check .
	mypy
	lint-imports

lock: $(STAMP) ## resolve requirements.lock anew
	pip-compile --quiet --extra dev --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --output-file requirements.lock pyproject.toml
	sed -i 's/^\(torch==[^+]*\)+.*/\1/' requirements.lock

clean: ## remove what the pipeline and the tests made, but neither data, runs nor the environment
	rm -rf prepared bases models training predictions ensembles evaluation exports bench report receipts registry checkpoints logs .pytest_cache .ruff_cache .mypy_cache
