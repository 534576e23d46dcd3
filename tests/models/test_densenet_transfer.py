"""The encoder, compared with keras.applications.DenseNet121."""

import keras
import numpy as np
import pytest

from keras_radn import RADN
from keras_radn.layers import SpaceToDepth
from keras_radn.models.densenet_transfer import fold_stem_kernel

# Our layer, DenseNet's layer.
STAGES = {
    "stem_relu": "conv1_relu",
    "stem_pool": "pool1",
    "encoder_block1": "conv2_block6_concat",
    "encoder_transition1": "pool2_conv",
    "encoder_pool1": "pool2_pool",
    "encoder_block2": "conv3_block12_concat",
    "encoder_transition2": "pool3_conv",
    "encoder_pool2": "pool3_pool",
    "encoder_block3": "conv4_block24_concat",
    "encoder_transition3": "pool4_conv",
}


@pytest.fixture(scope="module")
def densenet():
    """A DenseNet-121 whose weights and statistics are all random."""
    model = keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    rng = np.random.default_rng(5)
    for variable in model.variables:
        if variable.path.endswith(("gamma", "moving_variance")):
            value = rng.uniform(0.5, 1.5, variable.shape)
        elif len(variable.shape) == 1:
            value = rng.normal(0, 0.1, variable.shape)
        else:
            fan_in = np.prod(variable.shape[:-1])
            value = rng.normal(0, np.sqrt(2 / fan_in), variable.shape)
        variable.assign(value)
    return model


@pytest.fixture(scope="module")
def weights(densenet, tmp_path_factory):
    """The file of its weights."""
    path = tmp_path_factory.mktemp("densenet") / "densenet.weights.h5"
    densenet.save_weights(path)
    return path


@pytest.fixture(scope="module")
def image(photo):
    """A batch of one photograph, with values up to 255."""
    return photo[None, 100:228, 150:310].astype("float32")


@pytest.fixture(scope="module")
def stages(densenet, image):
    """What DenseNet computes of it at the ends of its stages."""
    preprocess = keras.applications.densenet.preprocess_input
    return keras.Model(
        densenet.input,
        [densenet.get_layer(name).output for name in STAGES.values()],
    ).predict(preprocess(image.copy()), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("with_top", [False, True])
def test_encoder_equals_densenet(
    densenet, weights, stages, with_top, image, tmp_path
):
    path = weights
    if with_top:
        path = tmp_path / "densenet.weights.h5"
        full = keras.applications.DenseNet121(weights=None)
        for layer in densenet.layers:
            if layer.weights:
                full.get_layer(layer.name).set_weights(layer.get_weights())
        full.save_weights(path)
    model = RADN(encoder_weights=path, stem_pool=True)
    ours = keras.Model(
        model.input, [model.get_layer(name).output for name in STAGES]
    ).predict(image / 255, verbose=0)
    for name, actual, expected in zip(STAGES, ours, stages, strict=True):
        # Our blocks go on where DenseNet's end.
        actual = actual[..., : expected.shape[-1]]
        assert actual.shape == expected.shape, name
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name


@pytest.mark.slow
def test_further_units_take_units_of_the_same_width(densenet, weights):
    model = RADN(encoder_weights=weights)
    for block, unit, source in (
        (1, 7, "conv3_block5"),
        (1, 12, "conv3_block10"),
        (2, 13, "conv4_block9"),
        (2, 16, "conv4_block12"),
    ):
        layer = model.get_layer(f"encoder_block{block}")
        np.testing.assert_array_equal(
            layer.bottleneck_convs[unit - 1].kernel,
            densenet.get_layer(f"{source}_1_conv").kernel,
        )
        np.testing.assert_array_equal(
            layer.growth_convs[unit - 1].kernel,
            densenet.get_layer(f"{source}_2_conv").kernel,
        )


@pytest.mark.parametrize("size", [(2, 2), (16, 34)])
def test_stem_equals_7x7_convolution(size, rng):
    images = rng.normal(size=(2, *size, 3)).astype("float32")
    kernel = rng.normal(size=(7, 7, 3, 5)).astype("float32")
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)))
    expected = keras.ops.conv(padded, kernel, strides=2, padding="valid")
    folded = keras.ops.conv(
        keras.layers.ZeroPadding2D(((2, 1), (2, 1)))(SpaceToDepth(2)(images)),
        fold_stem_kernel(kernel),
        padding="valid",
    )
    np.testing.assert_allclose(folded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_missing_file():
    with pytest.raises(FileNotFoundError, match="no DenseNet-121 weights"):
        RADN(encoder_weights="/nowhere/densenet.weights.h5")


@pytest.mark.slow
def test_file_of_another_network(tmp_path, tiny_radn):
    path = tmp_path / "other.weights.h5"
    tiny_radn().save_weights(path)
    with pytest.raises(ValueError, match="is not a weights file of"):
        RADN(encoder_weights=path)


@pytest.mark.slow
def test_encoder_of_another_shape(tiny_radn, weights):
    with pytest.raises(ValueError, match="Only the paper's encoder"):
        tiny_radn(encoder_weights=weights)


def test_failed_download(monkeypatch, tiny_radn):
    def fail(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(keras.applications, "DenseNet121", fail)
    with pytest.raises(ValueError, match=r"downloaded.*no network"):
        tiny_radn(encoder_weights="imagenet")
