import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from keras_radn.optimizers import ConvMuon, JointClipAdam


def step(shape, gradient, **kwargs):
    """What the first step subtracts from a variable."""
    variable = keras.Variable(np.zeros(shape, "float32"))
    optimizer = ConvMuon(1.0, global_clipnorm=None, **kwargs)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return -variable.numpy()


@pytest.mark.parametrize(
    "shape", [(3, 3, 8, 16), (1, 1, 24, 12), (1, 1, 8, 40)]
)
def test_step_of_kernel_is_orthogonal(shape):
    gradient = np.random.default_rng(0).normal(size=shape).astype("float32")
    rows, columns = gradient.reshape(-1, shape[-1]).shape
    u, _, v = np.linalg.svd(
        gradient.reshape(rows, columns), full_matrices=False
    )
    taken = step(shape, gradient).reshape(rows, columns)
    taken /= 0.2 * max(rows, columns) ** 0.5
    # Five Newton-Schulz iterations leave singular values of 0.7 to 1.2.
    singular = np.diag(u.T @ taken @ v.T)
    assert_allclose(singular, 1, atol=0.35)
    assert_allclose(taken, (u * singular) @ v, atol=0.03)


def test_vectors_and_the_last_convolution_take_adams_step():
    gradient = np.array([3.0, -1e-3], "float32")
    assert_allclose(step([2], gradient), [0.5, -0.5], rtol=1e-2)
    layer = keras.layers.Conv2D(3, 3, name="reconstruction")
    layer.build((None, None, None, 4))
    before = layer.kernel.numpy()
    ConvMuon(1.0, adam_lr_ratio=0.5).apply(
        [keras.ops.ones_like(layer.kernel)], [layer.kernel]
    )
    assert_allclose(before - layer.kernel.numpy(), 0.5, rtol=1e-4)


def test_excluded_layers_take_adams_step():
    layer = keras.layers.Conv2D(3, 3, name="gate")
    layer.build((None, None, None, 4))
    before = layer.kernel.numpy()
    ConvMuon(1.0, adam_lr_ratio=0.5, exclude_layers=["ga.e"]).apply(
        [keras.ops.ones_like(layer.kernel)], [layer.kernel]
    )
    assert_allclose(before - layer.kernel.numpy(), 0.5, rtol=1e-4)


def largest_steps(optimizer, model):
    """What a gradient of ones changes each weight by at most, by its path."""
    weights = model.trainable_variables
    before = [v.numpy() for v in weights]
    optimizer.apply([keras.ops.ones_like(v) for v in weights], weights)
    return {
        v.path: np.abs(v.numpy() - b).max()
        for v, b in zip(weights, before, strict=True)
    }


@pytest.mark.parametrize("kind", [ConvMuon, JointClipAdam])
def test_offsets_and_attention_steer_slowly(kind, tiny_radn):
    steps = largest_steps(kind(1e-2, steering_lr_ratio=0.01), tiny_radn())
    slow = {path for path, step in steps.items() if step < 2e-4}
    wanted = {
        path
        for path in steps
        if "offset_conv" in path
        or path.startswith(("attention/b", "attention/c"))
    }
    assert slow == wanted
    assert len(slow) > 4


@pytest.mark.parametrize("kind", [ConvMuon, JointClipAdam])
def test_steering_starts_later(kind, tiny_radn):
    model = tiny_radn()
    offsets = model.get_layer("decoder_block1").convs[0].offset_conv.kernel
    optimizer = kind(1e-2, steering_start=2)
    ones = [keras.ops.ones_like(v) for v in model.trainable_variables]
    before, steps = offsets.numpy(), []
    for _ in range(3):
        optimizer.apply(ones, model.trainable_variables)
        steps.append(np.abs(offsets.numpy() - before).max())
    assert steps[:2] == [0, 0]
    assert steps[2] > 1e-3


def test_decoder_kernels_have_a_learning_rate_of_their_own(tiny_radn):
    full, quarter = (
        largest_steps(ConvMuon(1e-2, decoder_lr_ratio=ratio), tiny_radn())
        for ratio in (1.0, 0.25)
    )
    ratios = {path: quarter[path] / step for path, step in full.items() if step}
    slow = {path for path, ratio in ratios.items() if ratio < 0.9}
    assert slow == {
        path
        for path in ratios
        if path.endswith("/kernel")
        and path.startswith(("decoder_", "context", "attention/d"))
        and "offset_conv" not in path
    }
    assert len(slow) > 15
    assert_allclose([ratios[path] for path in slow], 0.25, rtol=1e-2)


def test_config_round_trip():
    optimizer = ConvMuon(
        2e-3,
        global_clipnorm=1.0,
        use_ema=True,
        steering_lr_ratio=0.1,
        steering_start=5,
        decoder_lr_ratio=0.2,
    )
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, ConvMuon)
    assert again.get_config() == optimizer.get_config()
