import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from keras_radn.models.deblurring_model import apply_reconstruction
from keras_radn.optimizers import ConvMuon, JointClipAdam


def step(shape, gradient, **kwargs):
    """Returns what the first step subtracts from a variable."""
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


def test_steps_of_several_kernels_are_orthogonal():
    """Kernels are equal, wide and tall, with a bias between them."""
    random = np.random.default_rng(0)
    shapes = (3, 3, 8, 4), (1, 1, 30, 4), (4,), (1, 1, 4, 70), (1, 1, 20, 1)
    variables = [
        keras.Variable(random.normal(size=shape), "float32") for shape in shapes
    ]
    before = [v.numpy() for v in variables]
    gradients = [random.normal(size=shape) for shape in shapes]
    ConvMuon(1.0).apply(
        [keras.ops.convert_to_tensor(g, "float32") for g in gradients],
        variables,
    )
    for shape, old, variable, gradient in zip(
        shapes, before, variables, gradients, strict=True
    ):
        taken = old - variable.numpy()
        if len(shape) == 1:
            assert_allclose(taken, 0.5 * np.sign(gradient), rtol=1e-2)
            continue
        taken = taken.reshape(-1, shape[-1])
        taken = taken / (0.2 * max(taken.shape) ** 0.5)
        u, _, v = np.linalg.svd(
            gradient.reshape(-1, shape[-1]), full_matrices=False
        )
        singular = np.diag(u.T @ taken @ v.T)
        assert_allclose(singular, 1, atol=0.35)
        # PyTorch rounds every product of the iteration to bfloat16.
        assert_allclose(taken, (u * singular) @ v, atol=0.04)


def test_vectors_and_the_last_convolution_take_adams_step():
    gradient = np.array([3.0, -1e-3], "float32")
    assert_allclose(step([2], gradient), [0.5, -0.5], rtol=1e-2)
    images = keras.Input((None, None, 3))
    model = keras.Model(images, apply_reconstruction(images, images))
    layer = model.get_layer("reconstruction")
    before = keras.ops.convert_to_numpy(layer.kernel)
    ConvMuon(1.0, adam_lr_ratio=0.5).apply(
        [keras.ops.ones(layer.kernel.shape)], [layer.kernel]
    )
    assert_allclose(before - layer.kernel.numpy(), 0.5, rtol=1e-4)


def test_a_name_alone_decides_nothing():
    layer = keras.layers.Conv2D(3, 3, name="reconstruction")
    layer.build((None, None, None, 4))
    before = keras.ops.convert_to_numpy(layer.kernel)
    ConvMuon(1.0, adam_lr_ratio=0.5).apply(
        [keras.ops.ones(layer.kernel.shape)], [layer.kernel]
    )
    step = before - keras.ops.convert_to_numpy(layer.kernel)
    assert np.abs(step - 0.5).min() > 0.1


def test_excluded_layers_take_adams_step():
    layer = keras.layers.Conv2D(3, 3, name="gate")
    layer.build((None, None, None, 4))
    before = layer.kernel.numpy()
    ConvMuon(1.0, adam_lr_ratio=0.5, exclude_layers=["ga.e"]).apply(
        [keras.ops.ones(layer.kernel.shape)], [layer.kernel]
    )
    assert_allclose(before - layer.kernel.numpy(), 0.5, rtol=1e-4)


def adam_in_numpy(gradients, rate, momentum):
    """Returns weights that begin as zeros, and their average, in float64."""
    weight = average = first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        bias = (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
        weight = weight - rate * bias * first / (second**0.5 + 1e-7)
        share = 1.0 if step == 1 else 1 - momentum
        average = average + share * (weight - average)
    return weight, average


# JAX has no float64 unless it is asked for.
FLOAT64 = [] if keras.backend.backend() == "jax" else ["float64"]


@pytest.mark.parametrize("dtype", ["float32", *FLOAT64])
@pytest.mark.parametrize(
    "optimizer",
    [
        JointClipAdam(0.1, use_ema=True, ema_momentum=0.8),
        ConvMuon(
            0.2,
            adam_lr_ratio=0.5,
            adam_beta_1=0.9,
            adam_beta_2=0.999,
            use_ema=True,
            ema_momentum=0.8,
        ),
    ],
    ids=["adam", "muon"],
)
def test_vectors_take_adams_steps_and_are_averaged(optimizer, dtype, rng):
    optimizer = type(optimizer).from_config(optimizer.get_config())
    gradients = rng.normal(size=(5, 7)) * np.logspace(-4, 2, 7)
    variable = keras.Variable(np.zeros(7), dtype=dtype)
    for gradient in gradients:
        gradient = keras.ops.convert_to_tensor(gradient, dtype)
        optimizer.apply([gradient], [variable])
    weight, average = adam_in_numpy(gradients, 0.1, 0.8)
    rtol = 1e-6 if dtype == "float64" else 1e-4
    assert_allclose(variable.numpy(), weight, rtol=rtol)
    optimizer.finalize_variable_values([variable])
    assert_allclose(variable.numpy(), average, rtol=rtol)


def largest_steps(optimizer, model):
    """Returns each weight's largest change under gradients of ones."""
    weights = model.trainable_variables
    before = [v.numpy() for v in weights]
    optimizer.apply([keras.ops.ones(v.shape) for v in weights], weights)
    return {
        v.path: np.abs(v.numpy() - b).max()
        for v, b in zip(weights, before, strict=True)
    }


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ConvMuon, JointClipAdam])
def test_steering_starts_later(kind, tiny_radn):
    model = tiny_radn()
    offsets = model.get_layer("decoder_block1").convs[0].offset_conv.kernel
    optimizer = kind(1e-2, steering_start=2)
    ones = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    before, steps = offsets.numpy(), []
    for _ in range(3):
        optimizer.apply(ones, model.trainable_variables)
        steps.append(np.abs(offsets.numpy() - before).max())
    assert steps[:2] == [0, 0]
    assert steps[2] > 1e-3


def test_a_layer_of_the_same_path_does_not_steer():
    """Layers mark the weights that steer; names do not."""
    inputs = keras.Input((4, 4, 8))
    x = keras.layers.Conv2D(8, 1, name="offset_conv")(inputs)
    x = keras.layers.Conv2D(8, 1, name="attention_b")(x)
    steps = largest_steps(
        JointClipAdam(1e-2, steering_lr_ratio=0.01), keras.Model(inputs, x)
    )
    assert_allclose(list(steps.values()), 1e-2, rtol=1e-3)


def test_kernels_of_dense_layers_take_orthogonal_steps():
    layer = keras.layers.Dense(6, name="mix")
    layer.build((None, 4))
    before = layer.kernel.numpy()
    gradient = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    ConvMuon(1.0).apply([keras.ops.convert_to_tensor(gradient)], [layer.kernel])
    taken = (before - layer.kernel.numpy()) / (0.2 * 6**0.5)
    # Five iterations in bfloat16 end near 1, not at it.
    assert_allclose(np.linalg.svd(taken)[1], 1, atol=0.4)


def test_steps_are_not_rescaled_without_a_rate():
    """Keras's Muon does the same."""
    gradient = np.random.default_rng(0).normal(size=(3, 3, 4, 8))
    taken = step((3, 3, 4, 8), gradient.astype("float32"), rms_rate=None)
    assert_allclose(np.linalg.svd(taken.reshape(36, 8))[1], 1, atol=0.35)


def test_config_round_trip():
    optimizer = ConvMuon(
        2e-3,
        global_clipnorm=1.0,
        use_ema=True,
        steering_lr_ratio=0.1,
        steering_start=5,
    )
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, ConvMuon)
    assert again.get_config() == optimizer.get_config()
