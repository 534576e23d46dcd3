import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn import peers
from keras_radn.inference.network import as_function
from keras_radn.models.cost import count_macs
from keras_radn.peers.patches import CutPatches, JoinPatches
from keras_radn.peers.svrnn import GatedRecurrence
from tests.conftest import randomize
from tests.peers import published

# Parameters and GMAC at 256x256. Counted from the authors' code: MSCNN 11.7 M
# and 336, SRN for colors 6.9 M and 84, DMPHN(1-2-4-8) 7.2 M and 65, Stack(4)
# 21.7 M and 195.
COSTS = {
    "mscnn": (11_721_321, 335.94),
    "deblurgan": (11_378_179, 49.58),
    "svrnn": (9_227_027, 53.76),
    "srn": (8_061_411, 89.84),
    "srn_lstm": (8_056_609, 268.30),
    "srn_color": (6_881_251, 83.50),
    "pss_srn": (3_871_715, 235.13),
    "dmphn_1_2_4": (5_424_393, 48.86),
    "dmphn_1_2_4_8": (7_232_524, 65.15),
    "stack4_dmphn": (21_697_572, 195.44),
}

# Narrow ones, with few layers where there is a choice.
NARROW = {
    "mscnn": lambda **kwargs: peers.MSCNN(4, blocks=1, **kwargs),
    "deblurgan": lambda **kwargs: peers.DeblurGANGenerator(
        4, blocks=1, **kwargs
    ),
    "svrnn": lambda **kwargs: peers.SVRNN(2, **kwargs),
    "srn": lambda **kwargs: peers.SRN(width=4, **kwargs),
    "srn_lstm": lambda **kwargs: peers.SRN(color=False, width=4, **kwargs),
    "pss_srn": lambda **kwargs: peers.PSSSRN(4, **kwargs),
    "dmphn": lambda **kwargs: peers.DMPHN(width=4, **kwargs),
    "stack_dmphn": lambda **kwargs: peers.DMPHN(2, 2, width=4, **kwargs),
}

narrow = pytest.mark.parametrize("name", NARROW)


@functools.cache
def narrow_network(name):
    """Builds one, once, for tests that do not change its weights."""
    return NARROW[name]()


@pytest.mark.slow
@narrow
def test_any_size_saved_and_loaded(name, tmp_path, rng):
    model = narrow_network(name)
    assert model.output.shape == (None, None, None, 3)
    for size in ((1, 1), (13, 22)):
        images = rng.random((2, *size, 3), "float32")
        outputs = model(images)
        assert outputs.shape == images.shape
        assert np.isfinite(outputs).all()
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(reloaded) is type(model)
    assert reloaded.get_config() == model.get_config()
    np.testing.assert_allclose(reloaded(images), outputs, atol=1e-6)


@pytest.mark.slow
def test_a_file_loads_where_the_networks_were_not_imported(tmp_path):
    path = str(tmp_path / "model.keras")
    peers.MSCNN(2, blocks=0).save(path)
    code = (
        "import sys; from keras_radn.inference.model_file import read_model; "
        "assert 'keras_radn.peers' not in sys.modules; "
        f"assert type(read_model({path!r})).__name__ == 'MSCNN'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@narrow
def test_as_a_graph_of_any_size(name, rng):
    """Sizes are unknown while it is traced, as for pictures."""
    model = narrow_network(name)
    image = rng.random((13, 22, 3), "float32")
    outputs = as_function(model)(image)
    np.testing.assert_allclose(outputs, model(image[np.newaxis])[0], atol=1e-5)


@pytest.mark.slow
@narrow
def test_half_precision(name, rng):
    """Images and weights stay float32; the answer differs little."""
    images = rng.random((1, 16, 16, 3), "float32")
    full, half = NARROW[name](), NARROW[name](dtype="mixed_bfloat16")
    randomize(full, scale=0.01)
    half.set_weights(full.get_weights())
    outputs = half(images)
    assert outputs.dtype == "float32"
    expected = full(images)
    error = np.abs(outputs - expected).max() / np.abs(expected).max()
    assert 0 < error < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mscnn", "srn_lstm", "dmphn"])
def test_fixed_size(name, rng):
    fixed = NARROW[name](image_shape=(21, 24, 3))
    assert fixed.output.shape == (None, 21, 24, 3)
    free = NARROW[name]()
    free.set_weights(fixed.get_weights())
    images = rng.random((1, 21, 24, 3), "float32")
    np.testing.assert_allclose(fixed(images), free(images), atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("preset", COSTS)
def test_cost(preset):
    parameters, gmacs = COSTS[preset]
    model = peers.PRESETS[preset].from_preset(preset)
    assert model.count_params() == parameters
    assert count_macs(model) / 1e9 == pytest.approx(gmacs, abs=0.005)


def test_all_presets_have_a_cost():
    assert set(COSTS) == set(peers.PRESETS)


def reach(model, size, at):
    """Returns the rows and columns that an output pixel depends on."""
    randomize(model)
    images = tf.fill((1, size, size, 3), 0.5)
    with tf.GradientTape() as tape:
        tape.watch(images)
        pixel = tf.reduce_sum(model(images)[0, at, at])
    gradient = np.abs(tape.gradient(pixel, images)[0]).sum(-1)
    rows, columns = np.nonzero(gradient)
    return (rows.min(), rows.max()), (columns.min(), columns.max())


class TestReceptiveField:
    """How far a pixel of the answer sees, compared with a count by hand."""

    def test_mscnn(self):
        # A coarse pixel sees 5 convolutions of 2 pixels, a quarter of the
        # image each; with the larger scales that is all of 48 pixels.
        model = peers.MSCNN(2, blocks=1)
        assert reach(model, 48, 24) == ((0, 47), (0, 47))

    def test_dmphn_of_one_level(self):
        """One encoder and decoder, whose borders are counted by hand."""
        # From the answer back, at full size, a half and a quarter: 5, 4 and
        # 4 convolutions, and after them 4, 4 and 5; deconvolutions reach one
        # pixel, strided convolutions one to each side.
        (top, bottom), columns = reach(peers.DMPHN(1, width=2), 192, 96)
        assert (top, bottom) == columns
        # Filters of the outermost ones may be zero.
        assert 32 <= top < 40
        assert 152 < bottom <= 160

    def test_dmphn_sees_patches_beside_its_own(self):
        model = peers.DMPHN(2, width=2)
        (top, bottom), _ = reach(model, 32, 4)
        assert (top, bottom) == (0, 31)

    @pytest.mark.parametrize(
        ("axis", "reverse", "rows", "columns"),
        [
            (1, False, (0, 5), (5, 5)),
            (1, True, (5, 8), (5, 5)),
            (2, False, (5, 5), (0, 5)),
            (2, True, (5, 5), (5, 8)),
        ],
    )
    def test_recurrence(self, axis, reverse, rows, columns):
        inputs = keras.Input((None, None, 3))
        gates = keras.ops.tanh(inputs + 1.0)
        layer = GatedRecurrence(axis, reverse)
        model = keras.Model(inputs, layer([inputs, gates]))
        assert reach(model, 9, 5) == (rows, columns)


@pytest.mark.nightly
@narrow
def test_loss_falls(name, rng):
    """Steps follow the gradient's signs: tracing an optimizer takes minutes."""
    model = NARROW[name]()
    sharp = rng.random((2, 16, 16, 3), "float32")
    blurred = (sharp + np.roll(sharp, 1, axis=1)) / 2
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            error = model(blurred, training=True) - sharp
            loss = tf.reduce_mean(tf.square(error))
        gradients = tape.gradient(loss, variables)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(1e-3 * tf.sign(gradient))
        return loss

    losses = [float(step()) for _ in range(50)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


class TestLayers:
    @pytest.mark.parametrize("grid", published.GRIDS)
    def test_patches(self, grid, rng):
        images = rng.random((2, 16, 12, 3), "float32")
        patches = CutPatches(grid)(images)
        flipped = np.array(patches)[:, ::-1]
        expected = [
            published.by_patch(lambda p: p[::-1], image, grid)
            for image in images
        ]
        joined = JoinPatches(grid, (1, 1))(flipped)
        np.testing.assert_array_equal(joined, expected)

    def test_patches_of_a_batch_are_in_order(self):
        images = np.arange(2 * 4 * 4).reshape(2, 4, 4, 1).astype("float32")
        patches = CutPatches((2, 1))(images)
        np.testing.assert_array_equal(patches[1], images[0, 2:])
        joined = JoinPatches((4, 2), (2, 2))(CutPatches((4, 2))(images))
        np.testing.assert_array_equal(joined, CutPatches((2, 2))(images))

    @pytest.mark.parametrize("axis", [1, 2])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_recurrence_is_the_loop(self, axis, reverse, rng):
        features = rng.normal(size=(2, 5, 7, 3))
        gates = np.tanh(rng.normal(size=(2, 5, 7, 3)))
        places = range(features.shape[axis])
        expected = np.zeros_like(features)
        state = 0
        for i in reversed(places) if reverse else places:
            at = (slice(None),) * axis + (i,)
            state = (1 - gates[at]) * features[at] + gates[at] * state
            expected[at] = state
        layer = GatedRecurrence(axis, reverse)
        outputs = layer([features.astype("float32"), gates.astype("float32")])
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: peers.DMPHN(levels=5), "`levels` must be at most 4"),
        (lambda: peers.DMPHN(levels=0), "`levels` must be an integer"),
        (lambda: peers.DMPHN(stack=0), "`stack` must be an integer"),
        (lambda: peers.SRN(width=0), "`width` must be an integer"),
        (lambda: peers.MSCNN(blocks=-1), "`blocks` must be an integer"),
        (lambda: peers.SVRNN(image_shape=(8, 8, 1)), "image_shape"),
        (lambda: peers.PSSSRN(pretrained=True), "no packaged weights"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_imported_only_if_asked_for():
    code = (
        "import sys, keras_radn; "
        "assert not any('keras_radn.peers' in name for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
