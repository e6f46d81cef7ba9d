# Commands for a newcomer: `make demo`, `make real` and `make test`. Each makes its own .venv from nothing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo real test check site browser install clean

demo: install  ## grow, check and catch four organisms, and write a page to look at
	$(BIN)/flyroom demo --room room

real: install  ## the same on a real chat model, which is fetched first: 135 million parameters, no GPU
	$(BIN)/flyroom bases fetch smollm2-135m
	$(BIN)/flyroom demo --base smollm2-135m --room room-real

test: install  ## every test, every example, every command of the README
	$(BIN)/python -m pytest -n auto --dist worksteal

check: install  ## style, types, and who may import whom
	$(BIN)/ruff check src tests examples benchmarks scripts
	$(BIN)/ruff format --check src tests examples benchmarks scripts
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_imports.py

site: install  ## the documentation as a site, in build/site
	$(BIN)/mkdocs build --strict

browser:  ## Debian's chromium, which the tests of the web view click in; without it they are skipped, and say so
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium >/dev/null)

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv room room-real
