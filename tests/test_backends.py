"""The op and the layers under JAX, in TensorFlow's environment.

`make test-backends` also runs the networks, and everything under PyTorch, in
environments of their own.
"""

import pytest

from tests.backends.run import QUICK, run


@pytest.mark.nightly
def test_under_jax():
    assert run("jax", files=QUICK) == 0
