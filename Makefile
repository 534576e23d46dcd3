# Everything runs in .venv, which any target makes first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ADDONS := .venv-addons
NEWEST := .venv-newest-keras
BACKENDS := .venv-jax .venv-torch

# Each has a part of the tests in their order, so that what the tests of a file
# share is built once; the one that is done first takes from the others' rest.
# One more than cores, since many tests wait for programs that they start.
WORKERS := -n 3 --dist worksteal

# What the compiled library is made of.
SOURCES := $(wildcard custom_ops/*.* custom_ops/src/*.* custom_ops/src/*/*.*)
FORMATTED := $(filter %.cc %.h,$(SOURCES) $(wildcard custom_ops/gpu_check/*.* \
	custom_ops/tests/*/*.* custom_ops/tests/*/*/*.*))

.PHONY: demo test test-fast test-nightly test-gpu test-sanitize test-addons \
	test-backends test-newest-keras lint format benchmark docs figures \
	comparison clean

# Deblurs a photograph from scikit-image; pictures go to demo_output/.
demo: $(READY)
	@$(BIN)/python examples/demo.py

# The suite, but for what needs a GPU or takes minutes for what seldom breaks.
test: $(READY)
	$(BIN)/python -m pytest $(WORKERS)

# Without the tests that take seconds: those that trace networks, train, compile or
# start programs.
test-fast: $(READY)
	$(BIN)/python -m pytest $(WORKERS) -m "not slow and not nightly and not gpu"

# What takes minutes each: packages and builds of the library, sanitizers, the
# pages on every kind of host, machines that train together. Before a release,
# and every night.
test-nightly: $(READY)
	$(BIN)/python -m pytest $(WORKERS) -m nightly

# On a GPU that the backend (KERAS_BACKEND) sees; exit status 2 if it sees none.
# GPU_PYTHON=python runs them in another environment, with pytest in it.
GPU_PYTHON ?= $(BIN)/python
test-gpu: $(if $(filter $(BIN)/%,$(GPU_PYTHON)),$(READY))
	@$(GPU_PYTHON) -m pytest -o addopts=--strict-markers -m gpu tests/gpu

# The compiled op under AddressSanitizer and UndefinedBehaviorSanitizer; a part
# of `make test-nightly`. In one process, since its tests share a build.
test-sanitize: $(READY)
	$(BIN)/python -m pytest -m nightly tests/custom_ops -k sanitizers

# Beside tensorflow-addons, which has an environment of its own.
test-addons: $(READY) $(ADDONS)/.ready
	KERAS_RADN_ADDONS_PYTHON=$(abspath $(ADDONS)/bin/python) \
		$(BIN)/python -m pytest -o addopts=--strict-markers tests/addons

# Under JAX and PyTorch, in environments without TensorFlow; then what needs both
# TensorFlow and PyTorch.
test-backends: $(BACKENDS:=/.ready) .venv-both/.ready
	for backend in jax torch; do \
		.venv-$$backend/bin/python -m tests.backends.run $$backend || exit; \
	done
	.venv-both/bin/python -m pytest -o addopts=--strict-markers tests/with_torch

# The fast tests on the newest Keras 3 that pip finds, whatever version the package
# asks for.
test-newest-keras: $(NEWEST)/.ready
	$(NEWEST)/bin/pip install --quiet --upgrade "keras<4"
	$(NEWEST)/bin/python -m pytest $(WORKERS) -m "not slow and not nightly and not gpu"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

# Time and memory of the deformable convolution, beside a plain one.
benchmark: $(READY)
	$(BIN)/python benchmarks/deformable_conv.py

# The guides, the API reference and the page that deblurs in the browser, in
# site/; warnings are errors. Needs npm.
docs: $(READY)
	$(BIN)/python -m mkdocs build --strict

# What the package needs, so that it is installed while the library is compiled.
REQUIREMENTS := 'import tomllib; \
	project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	extras = project["optional-dependencies"]; \
	names = "demo heic litert onnx ray serve train video visualize".split(); \
	print(*project["dependencies"], *sum(map(extras.get, names), []), sep="\n")'

$(READY) $(NEWEST)/.ready: %/.ready: pyproject.toml $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "Installing into $* (4 GB, two to three minutes)"
	@$(PYTHON) -m venv $*
	@$*/bin/pip install --quiet --upgrade pip
	@$*/bin/pip install --quiet --no-deps --editable . & \
		$*/bin/python -c $(REQUIREMENTS) >$*/requirements.txt && \
		$*/bin/pip install --quiet --requirement $*/requirements.txt --group dev; \
		status=$$?; wait $$! && exit $$status
	@touch $@

# Not tensorflow-cpu: the addons' wheel wants symbols that only the other has.
$(ADDONS)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "tensorflow-addons needs Python 3.11: make test-addons PYTHON=python3.11")'
	@echo "Installing into $(ADDONS) (1.7 GB, about a minute)"
	@$(PYTHON) -m venv $(ADDONS)
	@$(ADDONS)/bin/pip install --quiet "tensorflow==2.15.1" "tensorflow-addons==0.23.0" "numpy==1.26.*"
	@touch $@

# Reading PyTorch's files of weights needs TensorFlow's networks, too.
.venv-both/.ready: pyproject.toml $(SOURCES)
	@echo "Installing into .venv-both (5 GB, some minutes)"
	@$(PYTHON) -m venv .venv-both
	@.venv-both/bin/pip install --quiet --upgrade pip
	@.venv-both/bin/pip install --quiet --editable ".[convert,train]" --group dev
	@touch $@

# pip of 25.1 at least knows groups.
$(BACKENDS:=/.ready): .venv-%/.ready: pyproject.toml
	@echo "Installing into .venv-$* (up to 6 GB with CUDA's libraries)"
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/pip install --quiet --upgrade pip
	@.venv-$*/bin/pip install --quiet --group without-tensorflow $* \
		$(if $(filter torch,$*),torchvision) \
		"opencv-python-headless>=4.10" "scikit-image>=0.25" "pytest>=8.3"
	@.venv-$*/bin/pip install --quiet --no-deps --no-build-isolation \
		-C wheel.cmake=false --editable .
	@touch $@

# The pictures of the README and the guides that our own code draws.
figures: $(READY)
	$(BIN)/python examples/front_page.py
	$(BIN)/python examples/network_diagram.py
	$(BIN)/python examples/comparison.py
	$(BIN)/python examples/training_curves.py

# Measures the networks of the paper's Table 1 on a machine that does nothing else,
# a quarter of an hour on two cores, and writes their table and plot into the guide.
# PAIRS=FOLDER measures the PSNR of those that have weights, too.
comparison: $(READY)
	$(BIN)/python -m keras_radn compare $(if $(PAIRS),--pairs $(PAIRS)) \
		--json benchmarks/comparison.json
	$(BIN)/python examples/comparison.py

clean:
	rm -rf .venv $(ADDONS) $(NEWEST) $(BACKENDS) .venv-both demo_output site build/try \
		docs/try/node_modules
