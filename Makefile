# Every target makes its own environment from requirements.lock; nothing but Python 3.11+ and make is needed.
# Paths are relative on purpose: the folder may have spaces in its name.

.DEFAULT_GOAL := help
.PHONY: help demo up test check check-long bench clean environment
PYTHON := .venv/bin/python

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: environment ## Plays a merchant and several payers on the local stack, shows the books, and ends
	@$(PYTHON) -m cli demo

up: environment ## Runs everything on this machine until Ctrl-C and prints the addresses
	@exec $(PYTHON) -m cli up

# Four processes on two cores: much of the time of each is spent in waiting for a server. Compiled files are kept even
# where the environment says otherwise, or each of the four, and every process they start, compiles everything again.
test: environment ## Runs the tests that take minutes
	@PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -n 4 -p tests.scheduling

check: environment ## Formats, lints, types, import rules: changes nothing, says what is wrong
	@$(PYTHON) -m ruff format --check --quiet --output-format concise . || { echo "Some files are not formatted; run: .venv/bin/ruff format ." >&2; exit 1; }
	@$(PYTHON) -m ruff check --quiet --output-format concise .
	@$(PYTHON) -m mypy --no-error-summary
	@said=$$(.venv/bin/lint-imports --no-logo 2>&1) || { printf '%s\n' "$$said"; exit 1; }
	@echo "All checks passed."

check-long: environment ## Runs the long tests: kills at random moments, fuzzing, the scan for leaks
	@$(PYTHON) -m pytest -m long -v --capture=no

bench: environment ## Measures and prints a table
	@$(PYTHON) -m bench

clean: ## Removes local data, caches and the environment
	@bin/clean

environment:
	@bin/environment
