import keras
import numpy as np
import pytest

from keras_radn import ResidualBaseline
from keras_radn.layers import DeformableConv2D, SelfAttention
from tests.conftest import randomize


@pytest.mark.slow
@pytest.mark.parametrize("preset", ResidualBaseline.presets)
def test_row_of_table_2(preset, tmp_path, rng):
    config = ResidualBaseline.presets[preset]["config"]
    model = ResidualBaseline.from_preset(preset, filters=(4, 8, 16), blocks=1)
    randomize(model)
    kinds = [type(layer) for layer in model.layers]
    assert kinds.count(DeformableConv2D) == config["deformable_layers"]
    assert kinds.count(SelfAttention) == config["attention"]
    for size in ((1, 1), (13, 22)):
        images = rng.random((2, *size, 3), "float32")
        assert model(images).shape == images.shape
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(reloaded) is ResidualBaseline
    np.testing.assert_allclose(
        reloaded(images), model(images), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
def test_trains(rng):
    model = ResidualBaseline(6, attention=True, filters=(4, 8, 16), blocks=1)
    images = rng.random((2, 20, 24, 3), "float32")
    losses = [model.train_on_batch(images, 0.9 * images)[0] for _ in range(5)]
    assert losses[-1] < losses[0]


def test_presets_are_the_rows_of_table_2():
    rows = [
        (p["config"]["deformable_layers"], p["config"]["attention"])
        for p in ResidualBaseline.presets.values()
    ]
    assert rows == [(0, False), (0, True), (3, False), (6, False), (6, True)]


def test_bad_number_of_deformable_layers():
    with pytest.raises(ValueError, match="0, 3 or 6"):
        ResidualBaseline(deformable_layers=4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pretrained": True}, TypeError, "pretrained"),
        ({"filters": (4, 8)}, ValueError, "filters` must have 3"),
        ({"image_shape": (8, 8, 1)}, ValueError, r"\(height, width, 3\)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ResidualBaseline(**{"filters": (4, 8, 16), "blocks": 1, **arguments})
