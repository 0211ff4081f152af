# Everything runs in .venv, which the first target that needs it makes. `make repro` stays small:
# torch is only for the tests and for those who ask for the extra.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

FUZZ ?= 60

.PHONY: help repro env test lint format templates bench scale example fuzz clean

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

repro: $(VENV)/.installed ## run the pipeline and print what was found
	dvc repro
	@core-tokens summary

env: $(VENV)/.installed-dev ## the whole environment: torch, tests, linters
	@echo "Now: . $(VENV)/bin/activate"

test: $(VENV)/.installed-dev ## all tests
	pytest -n auto --dist loadfile

lint: $(VENV)/.installed-dev ## ruff and mypy --strict
	ruff check
	ruff format --check
	mypy

format: $(VENV)/.installed-dev ## let ruff lay out the code
	ruff check --fix
	ruff format

templates: $(VENV)/.installed ## what is made from the pictures: .dvc/plots and those of the README
	python -m core_tokens.pictures.dvc_plots
	cp $(foreach name,curve_ulp rulers adjacency,data/qwen3-4b-replica/pictures/$(name).svg) docs/

bench: $(VENV)/.installed-dev ## side by side with what one would do instead: BENCHMARKS.md
	python -m benchmarks $(BENCH)

scale: $(VENV)/.installed-dev ## what a survey costs, and what ten thousand checkpoints would: docs/scale.md
	python -m benchmarks.survey

example: $(VENV)/.installed-dev ## train a small model, survey its checkpoints and draw what became of them
	cd examples/training_run && python train.py && core-tokens survey training-run && python draw.py

fuzz: $(VENV)/.installed-fuzz ## hostile input for every reader, a minute of it; FUZZ=600 for longer
	python fuzz/readers.py -max_total_time=$(FUZZ) -rss_limit_mb=2048 -timeout=20 -max_len=4096 -artifact_prefix=fuzz/

clean: ## remove the environment
	rm -rf $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

# torch first and pinned: a looser request could bring gigabytes for a GPU that is not there.
$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Adding torch and the tools for tests, once ..."
	@$(PIP) torch
	@$(PIP) --editable '.[torch,dev]'
	@touch $@

$(VENV)/.installed-fuzz: $(VENV)/.installed
	@$(PIP) --editable '.[fuzz]'
	@touch $@
