"""The op and the layers under JAX, in TensorFlow's environment.

`make test-backends` also runs the networks, and everything under PyTorch, in
environments of their own.
"""

import pytest

from tests.backends.run import FAST, QUICK, run


@pytest.mark.slow
def test_layers_and_a_training_under_jax():
    assert run("jax", files=FAST) == 0


@pytest.mark.nightly
def test_ops_and_trainings_under_jax():
    assert run("jax", files=QUICK) == 0
