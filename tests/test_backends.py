"""The op and the layers under JAX, in the environment of TensorFlow.

`make test-backends` runs the networks, too, and all under PyTorch, in
environments of their own.
"""

import pytest

from tests.backends.run import QUICK, run


@pytest.mark.nightly
def test_under_jax():
    assert run("jax", files=QUICK) == 0
