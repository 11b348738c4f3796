# The two commands of the README. Each makes $(VENV), installs the tested versions, and runs.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test install lint docs

demo: $(VENV)/.installed
	$(BIN)/memristor train experiment=quickstart

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

install: $(VENV)/.installed-test

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .

docs: $(VENV)/.installed-test
	$(BIN)/python docs/build.py site

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by the constraints file: other orders fetch gigabytes of CUDA.
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
