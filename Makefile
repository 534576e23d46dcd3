# Everything runs in .venv, which any target makes first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ADDONS := .venv-addons

# What the compiled library is made of.
SOURCES := $(wildcard custom_ops/*.* custom_ops/src/*.* custom_ops/src/*/*.*)

.PHONY: demo test test-fast test-sanitize test-addons lint format benchmark \
	docs clean

# Deblurs a photograph from scikit-image; pictures go to demo_output/.
demo: $(READY)
	@$(BIN)/python examples/demo.py

# The whole suite.
test: $(READY)
	$(BIN)/python -m pytest -n 2

# Without the tests that build full-size networks, train or compile.
test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

# The compiled op under AddressSanitizer and UndefinedBehaviorSanitizer; a part
# of `make test`.
test-sanitize: $(READY)
	$(BIN)/python -m pytest -n 2 tests/custom_ops -k sanitizers

# Beside tensorflow-addons, which has an environment of its own.
test-addons: $(READY) $(ADDONS)/.ready
	KERAS_RADN_ADDONS_PYTHON=$(abspath $(ADDONS)/bin/python) \
		$(BIN)/python -m pytest -o addopts=--strict-markers tests/addons

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(filter %.cc %.h,$(SOURCES))

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(filter %.cc %.h,$(SOURCES))

# Time and memory of the deformable convolution, beside a plain one.
benchmark: $(READY)
	$(BIN)/python benchmarks/deformable_conv.py

# The guides and the API reference, in site/; warnings are errors.
docs: $(READY)
	$(BIN)/python -m mkdocs build --strict

$(READY): pyproject.toml $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "Installing into .venv (4 GB, about three minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet --editable ".[demo,heic,litert,onnx,ray,serve,train,video,visualize]" --group dev
	@touch $@

# Not tensorflow-cpu: the addons' wheel wants symbols that only the other has.
$(ADDONS)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "tensorflow-addons needs Python 3.11: make test-addons PYTHON=python3.11")'
	@echo "Installing into $(ADDONS) (1.7 GB, about a minute)"
	@$(PYTHON) -m venv $(ADDONS)
	@$(ADDONS)/bin/pip install --quiet "tensorflow==2.15.1" "tensorflow-addons==0.23.0" "numpy==1.26.*"
	@touch $@

clean:
	rm -rf .venv $(ADDONS) demo_output site
