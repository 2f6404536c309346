# Every target sets up what it needs; a fresh clone needs nothing but Python 3.11 or 3.12 and make.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo-out
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

WEIGHTS := weights-out

.PHONY: help setup demo test test-slow check format lint types contracts bench weights clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv with the pinned versions

# nnU-Net depends on torchvision, which cannot be imported beside a CPU build of torch and then
# breaks what tries to; everything here works without it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import torchvision' 2>/dev/null || $(BIN)/python -m pip uninstall --quiet --yes torchvision
	@touch $@

demo: $(STAMP) ## build 8 cases, export them to nnU-Net raw, show them
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/demo.py $(DEMO)

test: $(STAMP) ## run the tests, in two processes
	$(BIN)/python -m pytest -n 2

test-slow: $(STAMP) ## run also what takes minutes: nnU-Net training, long kill tests
	$(BIN)/python -m pytest -m "slow or not slow" --timeout 3600

check: format lint types contracts test ## everything that must pass before a change lands

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP) ## the arrows between the packages
	$(BIN)/lint-imports

bench: $(STAMP) ## measure this machine: store throughput and build scaling
	$(BIN)/python benchmarks/store_throughput.py
	$(BIN)/python benchmarks/build_scaling.py

weights: $(STAMP) ## train GuideGen's shipped weights from nothing: 600 phantom cases, three stages, one folder; resumes
	mkdir -p $(WEIGHTS)
	$(BIN)/factory prompts sample default --n 1500 --mode balanced --seed 1 --out $(WEIGHTS)/prompts.parquet
	$(BIN)/factory build --manifest $(WEIGHTS)/prompts.parquet --preset tiny --n 600 --out $(WEIGHTS)/phantom
	$(BIN)/factory train masks --data $(WEIGHTS)/phantom --preset tiny --out $(WEIGHTS)/masks
	$(BIN)/factory train autoencoder --data $(WEIGHTS)/phantom --preset tiny --out $(WEIGHTS)/autoencoder
	$(BIN)/factory train latents --data $(WEIGHTS)/phantom --preset tiny --autoencoder $(WEIGHTS)/autoencoder --out $(WEIGHTS)/latents
	$(BIN)/factory train pack $(WEIGHTS)/masks $(WEIGHTS)/autoencoder $(WEIGHTS)/latents --out $(WEIGHTS)/shipped

clean: ## remove what the targets made, except .venv
	rm -rf $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
