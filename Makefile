# `make quickstart` and `make test` need Python 3.11+ and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BASE := .venv-base
TOOLS := .venv-tools
BIN := $(VENV)/bin
JOBS ?= 2
CLUSTER ?= http://127.0.0.1:9210
INDEX ?= quickstart
BUILD := build/quickstart
SOURCES ?= data/sources
MODEL ?= $(BUILD)/model
BUNDLE ?= $(BUILD)/bundle
RUN ?= $(BUILD)/model.run
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=line)
need = $(or $($(1)),$(error say which: make $(MAKECMDGOALS) $(1)=...))

.DEFAULT_GOAL := help
.PHONY: help setup setup-base links quickstart test lint style types unit e2e prepare-baseline train-baseline train-pretrain \
	train-finetune package node-up node-down deploy bench monitor info notebook docs release clean

help: ## list every target
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e '.[all]'
	touch $@

$(BASE)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BASE)/bin/python -m pip install --quiet -e '.[node]'
	touch $@

$(TOOLS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(TOOLS)/bin/python -m pip install --quiet -e '.[docs,release]'
	touch $@

setup: $(VENV)/.installed ## make .venv with osparse and every extra (torch: about 3 GB, once)

setup-base: $(BASE)/.installed ## make .venv-base, the deploying side without torch (the tests use it)

links: ## the git-ignored links that mypy, pyright and editors read
	@for d in configs corpus trainer packager deployer retrieval opensearch_templates; do \
		test -L src/osparse/$$d || ln -s ../../$$d src/osparse/$$d; done

quickstart: setup ## every step on real text: dataset, model, bundle, real OpenSearch, search, evaluation
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/quickstart.sh

test: setup setup-base links style ## lint, types and all tests, the real node included, side by side
	$(MAKE) --no-print-directory --jobs 3 $(SYNC) unit types e2e

lint: style types ## ruff and mypy

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup links
	$(BIN)/mypy src tests

unit: setup ## the tests that need neither a node nor the network, in JOBS=2 processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not e2e' --numprocesses $(JOBS) --dist worksteal

e2e: setup setup-base ## the tests on the real node and the server's runtime; says what it fetches from Maven Central
	$(BIN)/python -m pytest -m e2e

prepare-baseline: setup ## 10,000 pairs of what lies in SOURCES/NAME/ and of Debian's descriptions, tokenizer, IDF
	$(BIN)/osparse corpus baseline $(SOURCES) --output build/baseline/dataset --pairs 10000
	$(BIN)/osparse corpus tokenizer build/baseline/dataset --output build/baseline/tokenizer --vocab-size 16000
	$(BIN)/osparse idf build/baseline/dataset --tokenizer build/baseline/tokenizer --output build/baseline/idf.json

train-baseline: prepare-baseline ## train configs/baseline_10k.yaml on it
	$(BIN)/osparse train baseline_10k --dataset build/baseline/dataset --output build/baseline/model \
		--tokenizer build/baseline/tokenizer --idf build/baseline/idf.json

train-pretrain: setup ## train configs/pretrain_korean.yaml on your pairs: make train-pretrain DATASET=dir START=checkpoint
	$(BIN)/osparse train pretrain_korean --dataset $(call need,DATASET) --output build/pretrain/model \
		--start $(call need,START) $(if $(IDF),--idf $(IDF))

train-finetune: setup ## continue from a model: make train-finetune DATASET=dir START=model
	$(BIN)/osparse train finetune_msmarco --dataset $(call need,DATASET) --output build/finetune/model \
		--start $(call need,START)

package: setup ## package a model: make package MODEL=dir [BUNDLE=dir]
	$(BIN)/osparse package $(MODEL) --output $(BUNDLE)

node-up: setup ## start the quickstart's OpenSearch
	$(BIN)/osparse node up --home $(BUILD)/node

node-down: setup ## stop it; its data stays
	$(BIN)/osparse node down --home $(BUILD)/node

deploy: setup ## serve a bundle: make deploy [BUNDLE=dir] [CLUSTER=url] [INDEX=name]
	$(BIN)/osparse deploy $(BUNDLE) --cluster $(CLUSTER) --index $(INDEX)

bench: setup ## the times README quotes, on the quickstart's output
	$(BIN)/python benchmarks/commands.py --build $(BUILD)

monitor: setup ## live training metrics of a run: make monitor [RUN=dir]
	$(BIN)/osparse monitor $(RUN)

info: setup ## versions, devices, free memory, installed extras
	$(BIN)/osparse doctor

notebook: setup ## run examples/quickstart.ipynb and write it with its pictures to build/
	$(BIN)/python examples/run_notebook.py examples/quickstart.ipynb build/notebook/quickstart.ipynb

docs: links $(TOOLS)/.installed ## the documentation with the Python API, in build/site; open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(TOOLS)/bin/mkdocs build --quiet

release: $(TOOLS)/.installed ## build the wheel and the sdist into dist/, check them, run the installed command
	rm -rf dist build/release
	$(TOOLS)/bin/python -m build --outdir dist
	$(TOOLS)/bin/twine check --strict dist/*
	$(TOOLS)/bin/python .ci/check_release.py dist
	$(PYTHON) -m venv build/release
	build/release/bin/python -m pip install --quiet dist/*.whl
	cd build/release && bin/osparse --version && bin/osparse --help >/dev/null && bin/osparse node --help >/dev/null

clean: ## stop the quickstart's node and remove build/ and the virtual environments
	-test -x $(BIN)/osparse && $(BIN)/osparse node down --home $(BUILD)/node
	rm -rf build dist $(VENV) $(BASE) $(TOOLS)
