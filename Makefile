# Two commands for a newcomer: `make demo` and `make test`. Each makes its own .venv from nothing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check install clean

demo: install  ## grow, check and catch four organisms, and write a page to look at
	$(BIN)/flyroom demo --room room

test: install  ## every test, every example, every command of the README
	$(BIN)/python -m pytest -n auto

check: install  ## style, types, and who may import whom
	$(BIN)/ruff check src tests examples benchmarks scripts
	$(BIN)/ruff format --check src tests examples benchmarks scripts
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_imports.py

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv room
