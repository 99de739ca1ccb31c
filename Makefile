# `make help` lists the targets. Everything runs in .venv, which is installed from requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env repro smoke diff test lint lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

env: $(STAMP) ## set up .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is required; if it is not on PATH, run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

repro: $(STAMP) ## pull the data and run the whole pipeline
	dvc pull --quiet data.dvc pretrained.dvc
	dvc repro

smoke: $(STAMP) ## run the pipeline on presets/smoke.yaml twice; the second run must do nothing
	./tests/smoke.sh

# HEAD is the work tree unless it is named. A comment cannot show the plots, which come last.
diff: export BASE ?= origin/main
diff: export HEAD ?=
diff: $(STAMP) ## report what the changes since BASE=origin/main do to the model, in diff/
	rm -rf diff
	yoyak diff "$$BASE" $${HEAD:+"$$HEAD"} --merge-base --markdown --output diff/report.md --plots diff/plots
	sed '/^### Plots$$/,$$d' diff/report.md > diff/comment.md

test: $(STAMP) ## run the tests, or those of a shard: SHARD=1 SHARDS=4
	pytest -n 2 --dist loadfile $(if $(SHARD),--shard $(SHARD)/$(SHARDS))

lint: $(STAMP) ## check style, types and import layers
	ruff check .
	ruff format --check .
	mypy
	lint-imports

lock: $(STAMP) ## update requirements.lock from pyproject.toml
	pip-compile --quiet --extra dev --extra stack --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --output-file requirements.lock pyproject.toml
	sed -i 's/^\(torch==[^+]*\)+.*/\1/' requirements.lock

clean: ## remove outputs of the pipeline and the tests; keep data, runs and .venv
	rm -rf prepared bases models training predictions candidate_scores ensembles evaluation behaviour exports bench report diff receipts registry checkpoints logs .pytest_cache .ruff_cache .mypy_cache

include docker/targets.mk
include .github/targets.mk
