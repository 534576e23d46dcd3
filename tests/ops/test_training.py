import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import library, tracing, training
from tests.ops import fuzz, training_calls

CALLS = {
    "dense block": lambda rng, **k: training_calls.dense_block(
        rng, (2, 9, 13, 20), (8, 16, 3), 24, **k
    ),
    "deform units": lambda rng, **k: training_calls.deform_units(
        rng, (2, 9, 13, 20), (8, 16, 3), **k
    ),
}

CONVOLUTIONS = {
    f"{kind}, norm {norm}": functools.partial(
        training_calls.convolution,
        shape=(2, 9, 13, 20),
        filters=27,
        kind=kind,
        norm=norm,
    )
    for kind in ("1x1", "3x3", "transposed")
    for norm in (None, "before", "behind")
    if (kind, norm) != ("transposed", "before")
}


def draw_context(rng):
    return training_calls.context(rng, (2, 19, 37, 20), (4, 8, 16, 3))


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_equals_tensorflow_in_float64(name, fixed, rng):
    call = CALLS[name](rng, fixed=fixed)
    assert fuzz.difference_of_training(call) is None


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_equals_tensorflow_in_float64(name, fixed, rng):
    call = CONVOLUTIONS[name](rng, fixed=fixed)
    assert fuzz.difference_of_training(call) is None


def test_context_equals_matrices_in_float64(rng):
    assert fuzz.difference_of_training(draw_context(rng)) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CALLS, *CONVOLUTIONS, "context"])
def test_bfloat16_is_as_good_as_tensorflow_s(name, rng):
    """A ReLU or an offset that rounding moves changes much of a gradient."""
    call = {**CALLS, **CONVOLUTIONS, "context": draw_context}[name](rng)
    exact = call.run("float64", native=False)
    errors = {}
    for native in (True, False):
        results = call.run("bfloat16", native)
        errors[native] = {
            kind: max(map(fuzz.relative_error, results[kind], exact[kind]))
            for kind in results
            if results[kind]
        }
    for kind, error in errors[True].items():
        assert error < 1.5 * errors[False][kind] + 0.01, kind


def test_the_fuzzer_draws_every_kind_of_call():
    calls = [training_calls.draw(seed) for seed in range(80)]
    assert len({getattr(call.op, "func", call.op) for call in calls}) == 4
    options = [getattr(call.op, "keywords", {}) for call in calls]
    assert {o["norm_first"] for o in options if "norm_first" in o} == {
        True,
        False,
    }
    assert any(o.get("transposed") for o in options)
    assert {bool(call.fixed) for call in calls} == {True, False}
    assert any(call.features.shape[1:3] == (1, 1) for call in calls)
    assert any(call.features.shape[2] > 32 for call in calls)


@pytest.mark.slow
def test_fuzzed_calls_equal_tensorflow():
    for seed in range(25):
        problem = fuzz.difference_of_training(training_calls.draw(seed))
        assert problem is None, f"case {seed}: {problem}"


def test_statistics_keep_a_small_variance_beside_a_large_mean(rng):
    call = training_calls.dense_block(rng, (2, 40, 40, 1), (1,), 1)
    call.features = 1000 + 0.01 * rng.normal(size=call.features.shape)
    _, [(mean, variance), _] = call.op(
        tf.constant(call.features, "float32"),
        tf.nest.map_structure(lambda x: tf.cast(x, "float32"), call.units),
        training_calls.EPSILON,
    )
    values = call.features.astype("float32").astype("float64")
    assert mean.numpy() == pytest.approx(values.mean())
    assert variance.numpy() == pytest.approx(values.var(), rel=1e-4)


@pytest.mark.parametrize("name", CALLS)
def test_shapes_in_a_graph(name, rng):
    call = CALLS[name](rng)
    shapes = []

    @tf.function
    def run(features):
        outputs, moments = call.op(
            features,
            tf.nest.map_structure(lambda x: tf.cast(x, "float32"), call.units),
            training_calls.EPSILON,
        )
        shapes.append((outputs.shape, [m.mean.shape for m in moments]))
        [gradient] = tf.gradients(outputs, [features])
        shapes.append(gradient.shape)
        return outputs

    spec = tf.TensorSpec([None, None, None, 20], "float32")
    outputs = run.get_concrete_function(spec)(tf.ones((1, 3, 4, 20)))
    assert outputs.shape == (1, 3, 4, 47)
    assert shapes[0][0].as_list() == [None, None, None, 47]
    widths = [20, 24, 28, 24, 44, 24] if name == "dense block" else [8, 16, 3]
    assert [shape.as_list() for shape in shapes[0][1]] == [[w] for w in widths]
    assert shapes[1].as_list() == [None, None, None, 20]


def broken(call, change):
    """Runs the op with weights that do not fit."""
    units = tf.nest.map_structure(
        lambda x: tf.cast(x, "float32"), [list(unit) for unit in call.units]
    )
    features = tf.constant(call.features, "float32")
    features = change(features, units)
    return call.op(features, units, training_calls.EPSILON, fixed=call.fixed)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("index", range(5))
def test_weights_that_do_not_fit(name, index, rng):
    def change(features, units):
        weights = units[1][index]
        is_vector = len(weights.shape) == 1
        units[1][index] = weights[:-1] if is_vector else weights[:, :, :-1]
        return features

    with pytest.raises(tf.errors.InvalidArgumentError, match="must have the"):
        broken(CALLS[name](rng), change)


@pytest.mark.parametrize("name", CALLS)
def test_an_empty_batch_has_no_statistics(name, rng):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="empty batch has no statistics"
    ):
        broken(CALLS[name](rng), lambda features, _: features[:0])


@pytest.mark.parametrize("name", CALLS)
def test_moments_of_some_norms_only(name, rng):
    call = CALLS[name](rng, fixed=True)
    call.fixed = [
        [tf.cast(x, "float32") for x in moments] for moments in call.fixed[:1]
    ]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="of all norms or none"
    ):
        broken(call, lambda features, _: features)


def test_there_are_none_where_gathering_is_asked_for():
    assert library.load().ops is not None
    assert training.available()
    with tracing.options(implementation="gather"):
        assert not training.available()
    with tracing.options(training_ops=False):
        assert not training.available()


def test_concurrent_calls_do_not_share_memory(rng):
    """The gradient's memory becomes that of the sums only if it is free."""
    call = CALLS["dense block"](rng)
    units = tf.nest.map_structure(lambda x: tf.cast(x, "float32"), call.units)
    features = tf.constant(call.features, "float32")
    direction = tf.Variable(call.direction, dtype="float32")
    with tf.GradientTape() as tape:
        tape.watch(features)
        outputs, _ = call.op(features, units, training_calls.EPSILON)
    kept = direction.read_value()
    before = kept.numpy().copy()
    tape.gradient(outputs, features, kept)
    assert np.array_equal(kept, before)
    assert np.array_equal(direction, before)
