# Targets for people and for CI; `make help` lists them. Needs GNU make 3.81 and a POSIX shell.
BIN := .venv/bin
# Files of tests in two processes: most of them wait for processes of their own.
IN_PARALLEL := -n 2 --dist loadfile

# Taken as typed: spaces, quotes and dollar signs in them reach the commands untouched.
override PDF := $(value PDF)
override Q := $(value Q)
override DATA := $(value DATA)
override ENCODER := $(value ENCODER)
export PDF Q DATA ENCODER PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-torch nightly eval bench bench-peers gpu-check format clean

help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv with Octavo, its tools and the encoder's weights (quick when nothing changed)
	@sh scripts/setup.sh

demo: setup ## Ask a question of the sample report, or of your file: make demo PDF=my.pdf Q="..."
	@if [ "$$ENCODER" = tiny-vision ]; then \
		sh scripts/setup_torch.sh && .venv-torch/bin/python scripts/demo.py; \
	else $(BIN)/python scripts/demo.py; fi

test: setup ## What CI runs: format, lint, types, layers, tests
	@echo "== format: ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "== lint: ruff check"
	@$(BIN)/ruff check .
	@echo "== types: mypy"
	@$(BIN)/mypy
	@echo "== layers: lint-imports"
	@$(BIN)/lint-imports
	@echo "== tests: pytest"
	@$(BIN)/pytest -m "not nightly" -rs $(IN_PARALLEL)

test-torch: ## The tests of vision models and GPU scoring, on the CPU, in an environment with torch
	@sh scripts/setup_torch.sh
	@echo "== tests with torch: pytest"
	@TRITON_INTERPRET=1 .venv-torch/bin/python -m pytest -m "not nightly" -rs \
		$(IN_PARALLEL) tests/model tests/vision

nightly: setup ## The tests that take longer than a commit may wait; goes on where it was stopped
	@$(BIN)/python scripts/nightly.py $(ARGS)

eval: setup ## Measure the search on a dataset folder: make eval DATA=folder
	@$(BIN)/octavo eval run "$${DATA:?name a dataset folder: make eval DATA=folder}" \
		--data-dir eval-runs/data --history eval/history

bench: setup ## Measure the speed beside other libraries and the machine: make bench ARGS="--only fde"
	@$(BIN)/python -m eval.bench $(ARGS)

bench-peers: setup ## Install the libraries that `make bench` compares with (torch among them)
	@$(BIN)/python -m pip install --disable-pip-version-check -e ".[bench]"

gpu-check: ## MaxSim on this machine's GPU: right first, then timed; make gpu-check ARGS=--tiles
	@sh scripts/gpu_check.sh $(ARGS)

format: setup ## Rewrite the code in the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove what the demo and the caches left (not .venv)
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .nightly build dist
