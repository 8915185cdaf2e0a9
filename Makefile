# Targets for people and for CI; `make help` lists them. Needs GNU make 3.81 and a POSIX shell.
BIN := .venv/bin

# Taken as typed: spaces, quotes and dollar signs in PDF and Q reach the demo untouched.
override PDF := $(value PDF)
override Q := $(value Q)
export PDF Q PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo test format clean

help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv with Octavo, its tools and the encoder's weights (quick when nothing changed)
	@sh scripts/setup.sh

demo: setup ## Ask a question of the sample report, or of your file: make demo PDF=my.pdf Q="..."
	@$(BIN)/python scripts/demo.py

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
	@$(BIN)/pytest -m "not nightly" -rs

format: setup ## Rewrite the code in the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove what the demo and the caches left (not .venv)
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
