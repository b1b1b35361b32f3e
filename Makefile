# `make quickstart` and `make test` need Python 3.11+ and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BASE := .venv-base
BIN := $(VENV)/bin
CLUSTER ?= http://127.0.0.1:9210
INDEX ?= quickstart
BUILD := build/quickstart

.DEFAULT_GOAL := help
.PHONY: help setup setup-base links quickstart test lint unit e2e prepare-baseline train-baseline train-pretrain \
	train-finetune package node-up node-down deploy bench monitor info notebook clean

help: ## list every target
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[all]'
	touch $@

$(BASE)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install --quiet --upgrade pip
	$(BASE)/bin/python -m pip install --quiet -e '.[node]'
	touch $@

setup: $(VENV)/.installed ## make .venv with osparse and every extra (torch: about 3 GB, once)

setup-base: $(BASE)/.installed ## make .venv-base, the deploy side without torch (the tests use it)

links: ## the git-ignored links that mypy, pyright and editors read
	@for d in corpus trainer packager deployer retrieval opensearch_templates; do ln -sfn ../../$$d src/osparse/$$d; done

quickstart: setup ## the whole road on real text: dataset, model, bundle, real OpenSearch, answers, table
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/quickstart.sh

test: setup setup-base lint unit e2e ## lint, types and all tests, the real node included

lint: setup links ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	$(BIN)/mypy tests --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --allow-any-generics

unit: setup ## the tests that need no node
	$(BIN)/python -m pytest -m 'not e2e'

e2e: setup setup-base ## the tests on the real node
	$(BIN)/python -m pytest -m e2e
