"""Steps as compiled operations, and as separate ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn.layers.roles import mark_steering
from keras_radn.ops import optimizer_steps, tracing
from keras_radn.optimizers import (
    ConvMuon,
    JointClipAdam,
    WarmupStableDecay,
)

SHAPES = [(3, 3, 8, 16), (1, 1, 24, 12), (1, 1, 8, 40), (16,), (3, 3, 12, 18)]
OPTIMIZERS = {
    "adam": lambda: JointClipAdam(
        0.01,
        global_clipnorm=1.0,
        steering_lr_ratio=0.1,
        steering_start=2,
        use_ema=True,
        ema_momentum=0.8,
    ),
    "muon": lambda: ConvMuon(
        WarmupStableDecay(0.01, 8, 2, 4),
        global_clipnorm=1.0,
        steering_lr_ratio=0.1,
        steering_start=2,
        use_ema=True,
        ema_momentum=0.8,
    ),
    "muon as it is": lambda: ConvMuon(
        0.01, nesterov=False, rms_rate=None, weight_decay=0.1
    ),
}


def variables_of(rng):
    variables = [
        keras.Variable(rng.normal(size=s), dtype="float32") for s in SHAPES
    ]
    layer = keras.layers.Conv2D(18, 3)
    layer.build((None, None, None, 4))
    mark_steering(layer)
    return [*variables, layer.kernel, layer.bias]


def run(make, compiled, in_graph):
    """Returns variables, the optimizer's, and averages after some steps."""
    rng = np.random.default_rng(5)
    keras.utils.set_random_seed(5)
    variables = variables_of(rng)
    optimizer = make()
    optimizer.build(variables)

    def step(gradients):
        with tracing.options(training_ops=compiled):
            optimizer.apply(gradients, variables)

    if in_graph:
        step = tf.function(step)
    for size in (1e-3, 3.0, 0.1, 1.0):
        step(
            [
                tf.constant(size * rng.normal(size=v.shape), "float32")
                for v in variables
            ]
        )
    results = [v.numpy() for v in [*variables, *optimizer.variables]]
    optimizer.finalize_variable_values(variables)
    return [*results, *(v.numpy() for v in variables)]


@pytest.mark.slow
@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equal_separate_operations(name, in_graph):
    make = OPTIMIZERS[name]
    compiled = run(make, None, in_graph)
    separate = run(make, False, in_graph)
    assert len(compiled) > 20
    for ours, expected in zip(compiled, separate, strict=True):
        # The iteration of Muon rounds its products to bfloat16 there.
        tolerance = 3e-3 if name.startswith("muon") else 1e-6
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=tolerance)


@pytest.mark.slow
def test_a_step_of_a_network_is_few_operations(tiny_radn):
    model = tiny_radn()
    optimizer = ConvMuon(1e-3, global_clipnorm=1.0, use_ema=True)
    weights = model.trainable_variables
    optimizer.build(weights)

    @tf.function
    def step():
        optimizer.apply([tf.ones(v.shape) for v in weights], weights)

    names = [
        op.type for op in step.get_concrete_function().graph.get_operations()
    ]
    steps = [name for name in names if name.startswith("KerasRadn>")]
    assert sorted(steps) == [
        "KerasRadn>AdamStep",
        "KerasRadn>ClipByGlobalNorm",
        "KerasRadn>MoveAverages",
        "KerasRadn>MuonStep",
    ]
    computing = set(names) - {"Const", "Placeholder", "Identity", "NoOp"}
    assert sum(name in computing for name in names) < 3 * len(weights)


def test_who_has_read_a_variable_keeps_what_it_read():
    variable = keras.Variable(np.zeros((4, 3)), dtype="float32")
    optimizer = ConvMuon(1.0)
    before = tf.identity(variable.value)
    read = variable.value.read_value()
    optimizer.apply([tf.ones((4, 3))], [variable])
    assert np.array_equal(read, before)
    assert np.abs(variable.numpy()).min() > 0.05


def test_clipping_equals_keras(rng):
    gradients = [tf.constant(rng.normal(size=s), "float32") for s in SHAPES]
    for norm in (0.5, 1e4):
        clipped = optimizer_steps.clip_by_global_norm(gradients, norm)
        expected, _ = tf.clip_by_global_norm(gradients, norm)
        for ours, theirs in zip(clipped, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    gradients[1] *= np.inf
    clipped = optimizer_steps.clip_by_global_norm(gradients, 1.0)
    assert all(np.isnan(part).all() for part in clipped)


@pytest.mark.parametrize(
    ("variable", "gradient", "message"),
    [
        ((4, 3), (3, 4), r"must have the shape"),
        ((4,), (4,), r"2 dimensions or more"),
        ((0, 3), (0, 3), r"none of them 0"),
    ],
)
def test_muon_of_shapes_that_do_not_fit(variable, gradient, message):
    variables = [keras.Variable(np.zeros(variable), dtype="float32")]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        optimizer_steps.muon(
            variables,
            variables,
            [tf.zeros(gradient)],
            0.1,
            0.9,
            True,
            (3.0, -4.0, 2.0),
            5,
            None,
        )


def test_other_dtypes_take_separate_operations():
    variable = keras.Variable(np.zeros((4, 3)), dtype="float64")
    ConvMuon(1.0).apply([tf.ones((4, 3), "float64")], [variable])
    assert np.abs(variable.numpy()).min() > 0.05
