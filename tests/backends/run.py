"""Runs the tests that hold on every backend under one of them.

`python -m tests.backends.run jax`; further arguments go to pytest.
"""

import os
import subprocess
import sys

# Tests in other files need TensorFlow.
FILES = (
    "tests/backends",
    "tests/layers/test_deformable_conv2d.py",
    "tests/layers/test_dense_deformable_module.py",
    "tests/layers/test_layers.py",
    "tests/layers/test_methods_before_calls.py",
    "tests/optimizers",
)

# The ones that take a minute: JAX compiles each operation and shape.
FAST = (
    "tests/backends/test_layers.py",
    "tests/backends/test_networks.py::test_recipe_of_the_training",
)
# The ones that take two more.
QUICK = (
    "tests/backends/test_ops.py",
    "tests/backends/test_training.py",
)
# JAX takes longer to compile what is tested than to run it.
QUICKLY = (
    "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)


def run(backend, *words, files=FILES):
    """Returns the exit status of pytest."""
    # The notebooks' plugin is not everywhere.
    options = ["-q", "-o", "addopts=--strict-markers"]
    return subprocess.call(
        [sys.executable, "-m", "pytest", *options, *files, *words],
        env={"XLA_FLAGS": QUICKLY, **os.environ, "KERAS_BACKEND": backend},
    )


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
