import importlib
import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn import RADN, hooks, keras_setup
from keras_radn.layers import (
    DeformableConv2D,
    DenseBlock,
    DenseDeformableModule,
    SelfAttention,
)
from keras_radn.layers.batch_normalization import BatchNormalization
from keras_radn.losses import Charbonnier
from keras_radn.metrics import PSNR
from keras_radn.models.presets import DEFAULT_PRESET
from keras_radn.ops import backend
from tests.conftest import TINY_RADN

VARIANTS = [
    {"decoder_block": block, "attention": attention, "stem_pool": stem_pool}
    for block in ("deformable", "dense", "bottleneck")
    for attention, stem_pool in ((True, True), (False, True), (True, False))
]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_variant(variant, tiny_radn, rng):
    """Checks symbolic, unknown and odd sizes, parts, and configuration."""
    model = tiny_radn(**variant)
    assert model.output.shape == (None, None, None, 3)
    images = rng.random((1, 37, 50, 3), "float32")
    outputs = model(images)
    assert outputs.shape == images.shape
    assert np.abs(outputs - images).max() > 1e-3

    kinds = [type(layer) for layer in model.layers]
    modules = [m for m in model.layers if isinstance(m, DenseDeformableModule)]
    bottleneck = variant["decoder_block"] == "bottleneck"
    assert len(modules) == (0 if bottleneck else 3)
    assert kinds.count(DenseBlock) == (6 if bottleneck else 3)
    assert kinds.count(SelfAttention) == variant["attention"]
    for module in modules:
        deformable = variant["decoder_block"] == "deformable"
        assert isinstance(module.convs[0], DeformableConv2D) == deformable

    copy = RADN.from_config(model.get_config())
    assert copy.get_config() == model.get_config()
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(copy(images), outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_default_is_the_papers_final_or_the_default_preset():
    final = RADN.from_preset("radn_final", load_weights=False)
    assert RADN().architecture() == final.architecture()
    packaged = RADN(pretrained=True)
    part = RADN(pretrained=True, attention_pool=2, deform_units=2)
    for a, b in zip(packaged.variables, part.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_preset_has_its_weights_unless_told_otherwise():
    packaged = RADN(pretrained=True)
    preset = RADN.from_preset(DEFAULT_PRESET)
    assert packaged.architecture() == preset.architecture()
    for a, b in zip(packaged.variables, preset.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for random in ({"load_weights": False}, {"pretrained": False}):
        model = RADN.from_preset(DEFAULT_PRESET, **random)
        assert not np.any(model.get_layer("reconstruction").kernel)
    with pytest.raises(ValueError, match="load_weights=False"):
        RADN.from_preset(DEFAULT_PRESET, deform_units=1)


@pytest.mark.slow
@pytest.mark.parametrize("stem_pool", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 19), (2, 3), (16, 33), (40, 8)])
def test_any_size(size, stem_pool, tiny_radn, rng):
    model = tiny_radn(stem_pool=stem_pool)
    outputs = model(rng.random((2, *size, 3), "float32"))
    assert outputs.shape == (2, *size, 3)
    assert np.isfinite(outputs).all()


@pytest.mark.slow
def test_fixed_size(tiny_radn, rng):
    model = tiny_radn(image_shape=(21, 40, 3))
    assert model.output.shape == (None, 21, 40, 3)
    images = rng.random((1, 21, 40, 3), "float32")
    free = tiny_radn()
    free.set_weights(model.get_weights())
    np.testing.assert_allclose(
        model(images), free(images), rtol=1e-5, atol=1e-5
    )


def test_starts_as_the_identity(rng):
    """The reconstruction starts at zero and leaves the global residual."""
    images = rng.random((1, 20, 20, 3), "float32")
    outputs = RADN(**TINY_RADN)(images)
    np.testing.assert_array_equal(outputs, images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "images", "tolerance"),
    [
        ("float32", "float32", 1e-4),
        ("float64", "float64", 1e-6),
        ("mixed_float16", "float32", 0.02),
        ("mixed_bfloat16", "float32", 0.1),
    ],
)
def test_precision(dtype, images, tolerance, tiny_radn, rng):
    reference, model = tiny_radn(dtype="float64"), tiny_radn(dtype=dtype)
    model.set_weights(reference.get_weights())
    batch = rng.random((1, 32, 48, 3))
    expected = reference(batch) - batch
    outputs = model(batch.astype(images))
    assert outputs.dtype == images
    error = np.abs(tf.cast(outputs, "float64") - batch - expected).max()
    assert error < tolerance * np.abs(expected).max()


@pytest.mark.slow
def test_xla_equals_graph(tiny_radn, rng):
    model = tiny_radn()
    images = rng.random((1, 24, 40, 3), "float32")
    compiled = tf.function(model, jit_compile=True)
    np.testing.assert_allclose(
        compiled(images), model(images), rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_fit_takes_the_paper_recipe(tiny_radn, rng):
    model = tiny_radn(deform_units=1)
    blurred = rng.random((4, 32, 32, 3), "float32")
    pairs = tf.data.Dataset.from_tensor_slices((blurred, blurred * 0.9))
    history = model.fit(pairs.batch(2), epochs=4, shuffle=False, verbose=0)
    history = history.history
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-4)
    assert isinstance(model.loss, Charbonnier)
    assert history["loss"][-1] < history["loss"][0]
    assert history["psnr"][-1] > history["psnr"][0]


FRESH_PROCESS = """
import sys
import keras, numpy as np
import keras_radn
folder = sys.argv[1]
arrays = np.load(folder + "/arrays.npz")
model = keras.models.load_model(folder + "/model.keras")
assert type(model) is keras_radn.RADN, type(model)
assert type(model.loss) is keras_radn.losses.Charbonnier, model.loss
assert int(model.optimizer.iterations) == 1
other = keras_radn.RADN.from_config(model.get_config())
other.load_weights(folder + "/model.weights.h5")
for m in (model, other):
    np.testing.assert_allclose(
        m(arrays["images"]), arrays["outputs"], rtol=1e-5, atol=1e-5
    )
"""


@pytest.mark.slow
def test_files_reload_in_a_fresh_process(tiny_radn, tmp_path, rng):
    model = tiny_radn(deform_units=1, name="mine")
    images = rng.random((2, 17, 30, 3), "float32")
    model.train_on_batch(images, images)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    np.savez(tmp_path / "arrays.npz", images=images, outputs=model(images))
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, tmp_path], check=True)


@pytest.mark.slow
def test_untrained_model_reloads_as_it_was_compiled(tiny_radn, tmp_path):
    model = tiny_radn()
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(reloaded.optimizer, keras.optimizers.SGD)
    assert float(reloaded.optimizer.learning_rate) == 0.5
    assert reloaded.loss == "mse"


def as_if_trained(optimizer, variables):
    """Fills the state of an optimizer without training."""
    optimizer.build(variables)
    optimizer.iterations.assign(3)
    for i, variable in enumerate(optimizer.variables[2:]):
        variable.assign(np.full(variable.shape, i))


@pytest.mark.slow
@pytest.mark.parametrize("trained", [True, False])
def test_files_of_the_old_form(trained, tiny_radn, tmp_path, rng):
    """The optimizer's flag is elsewhere, and nothing is frozen."""
    model = tiny_radn(trainable=trained)
    model.compile("adam", "mse")
    if trained:
        as_if_trained(model.optimizer, model.trainable_variables)
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                del config["config"]["frozen"]
                built = config["config"].pop("optimizer_built")
                config["compile_config"]["optimizer_built"] = built
                content = json.dumps(config)
            old.writestr(name, content)
    reloaded = keras.models.load_model(tmp_path / "old.keras")
    assert reloaded.optimizer.built == trained
    assert int(reloaded.optimizer.iterations) == 3 * trained
    assert reloaded.trainable == trained
    images = rng.random((1, 16, 16, 3), "float32")
    np.testing.assert_array_equal(reloaded(images), model(images))


@pytest.mark.slow
@pytest.mark.parametrize(
    "is_frozen",
    [
        lambda layer: layer.name.startswith("encoder"),
        lambda layer: isinstance(layer, BatchNormalization),  # inside of others
    ],
)
def test_frozen_layers_stay_frozen(is_frozen, tiny_radn, tmp_path, rng):
    model = tiny_radn()
    for layer in hooks.flatten_layers(model, include_self=False):
        if is_frozen(layer):
            layer.trainable = False
    model.compile("adam", "mse")
    as_if_trained(model.optimizer, model.trainable_variables)
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert reloaded.get_config() == model.get_config()
    paths = [v.path for v in model.trainable_variables]
    assert [v.path for v in reloaded.trainable_variables] == paths
    for mine, theirs in zip(
        model.optimizer.variables, reloaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    copy = RADN.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    images = rng.random((1, 16, 16, 3), "float32")
    np.testing.assert_array_equal(copy(images), model(images))


@pytest.mark.slow
def test_clone(tiny_radn, rng):
    model = tiny_radn()
    model.compile("adam", "mse")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    images = rng.random((1, 20, 24, 3), "float32")
    np.testing.assert_array_equal(clone(images), model(images))
    assert type(clone.optimizer) is type(model.optimizer)


@pytest.mark.slow
def test_part_of_a_model_reloads(tiny_radn, tmp_path, rng):
    model = tiny_radn()
    part = keras.Model(model.input, model.get_layer("context").output)
    part.save(tmp_path / "part.keras")
    reloaded = keras.models.load_model(tmp_path / "part.keras")
    images = rng.random((1, 20, 24, 3), "float32")
    np.testing.assert_array_equal(reloaded(images), part(images))
    assert type(reloaded.get_layer("stem_norm")) is BatchNormalization


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder_block": "resnet"}, "decoder_block"),
        ({"pretrained": True, "encoder_weights": "imagenet"}, "leave it out"),
        ({"pretrained": True, "attention": False}, r"\blite only"),
        ({"pretrained": True, "stem_pool": True}, r"\blite only"),
        ({"encoder_units": (1, 1)}, r"units` must have 3 .* \(1, 1\)"),
        (
            {"encoder_units": (1,) * 4, "transition_filters": (8,) * 4},
            "encoder_units` must have 3",
        ),
        ({"transition_filters": 8}, "transition_filters` must have 3 .* 8"),
        ({"decoder_filters": (8, 8, 8)}, "decoder_filters` must have 4"),
        ({"decoder_filters": (8, 8, 8, 4, 4)}, "decoder_filters` must have 4"),
        ({"image_shape": (32, 32)}, r"\(height, width, 3\)"),
        ({"image_shape": (32, 32, 1)}, r"\(height, width, 3\)"),
        ({"image_shape": (0, 32, 3)}, r"\(height, width, 3\)"),
        ({"encoder_units": (-1, 1, 1)}, "units` must be .* at least 0.* -1"),
        ({"deform_units": -1}, "units` must be an integer of at least 0"),
        ({"growth_rate": 2.5}, "growth_rate` must be .* at least 1.* 2.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RADN(**{**TINY_RADN, **arguments})


@pytest.mark.parametrize(
    "build", [RADN, lambda **kwargs: RADN.from_preset("lite", **kwargs)]
)
def test_misspelled_argument(build):
    with pytest.raises(TypeError, match="pretraned"):
        build(pretraned=True)


def test_no_path_is_no_untrained_network():
    with pytest.raises(FileNotFoundError, match="no weights file ''"):
        RADN.from_preset("lite", pretrained="")


def test_refuses_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ImportError, match="channels_first"):
            keras_setup.import_keras()
        with pytest.raises(ImportError, match="channels_first"):
            importlib.reload(backend)  # as all layers import it
    finally:
        keras.config.set_image_data_format("channels_last")


def test_unknown_preset():
    with pytest.raises(ValueError, match="radn_final"):
        RADN.from_preset("radn5")


def test_metric_equals_scikit_image(rng):
    from skimage.metrics import peak_signal_noise_ratio

    sharp = rng.random((3, 8, 9, 3), "float32")
    deblurred = sharp + rng.normal(0, 0.1, sharp.shape).astype("float32")
    metric = PSNR()
    for start in (0, 2):
        metric.update_state(
            sharp[start : start + 2], deblurred[start : start + 2]
        )
    expected = [
        peak_signal_noise_ratio(s, np.clip(d, 0, 1), data_range=1)
        for s, d in zip(sharp, deblurred, strict=True)
    ]
    assert float(metric.result()) == pytest.approx(np.mean(expected), abs=1e-4)


def test_metric_of_clips_equals_that_of_their_frames(rng):
    sharp = rng.random((2, 3, 8, 9, 3), "float32")
    deblurred = sharp + rng.normal(0, 0.1, sharp.shape).astype("float32")
    of_clips, of_frames = PSNR(), PSNR()
    of_clips.update_state(sharp, deblurred)
    of_frames.update_state(
        *(x.reshape(-1, 8, 9, 3) for x in (sharp, deblurred))
    )
    assert float(of_clips.result()) == pytest.approx(float(of_frames.result()))


def test_loss_equals_numpy(rng):
    a, b = rng.random((2, 2, 4, 5, 3), "float32")
    expected = np.mean(np.sqrt((a - b) ** 2 + 0.01**2))
    assert float(Charbonnier(0.01)(a, b)) == pytest.approx(expected, rel=1e-5)
    config = keras.losses.serialize(Charbonnier(0.01))
    assert keras.losses.deserialize(config).epsilon == 0.01
