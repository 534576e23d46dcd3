# Everything runs in .venv, which any target makes first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-fast lint format benchmark clean

# Deblurs a photograph from scikit-image; pictures go to demo_output/.
demo: $(READY)
	@$(BIN)/python examples/demo.py

# The whole suite.
test: $(READY)
	$(BIN)/python -m pytest -n 2

# Without the tests that build full-size networks.
test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Time and memory of the deformable convolution, beside a plain one.
benchmark: $(READY)
	$(BIN)/python benchmarks/deformable_conv.py

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "Installing into .venv (2.6 GB, about two minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet --editable ".[train]" --group dev
	@touch $@

clean:
	rm -rf .venv demo_output
