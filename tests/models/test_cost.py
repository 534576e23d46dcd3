import keras
import pytest
from keras import layers

from keras_radn import RADN
from keras_radn.cli.models import variants
from keras_radn.models.cost import count_macs

# Parameters and GMAC at 256x256, as they stand in the README.
COSTS = {
    "radn1": (7_167_395, 31.19),
    "radn2": (7_167_395, 31.19),
    "radn3": (8_655_779, 37.80),
    "radn4": (8_984_099, 38.74),
    "radn_final": (10_275_239, 45.50),
    "radn_final_pooled": (10_341_031, 12.11),
    "compact": (3_839_333, 14.88),
    "lite": (835_495, 3.94),
    "residual_0": (2_511_491, 23.06),
    "residual_0_attention": (2_532_131, 25.56),
    "residual_3": (2_573_753, 23.32),
    "residual_6": (2_636_015, 23.57),
    "residual_6_attention": (2_656_655, 26.07),
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_macs_equal_a_count_by_hand():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.Conv2DTranspose(4, 4, strides=2, padding="same")(x)
    x = layers.Activation("relu")(layers.Dense(5)(x))
    by_hand = (
        16 * 20 * 8 * 3 * 3 * 3
        + 16 * 20 * 8 * 4 * 4 * 4
        + (2 * 16) * (2 * 20) * 4 * 5
    )
    assert count_macs(keras.Model(inputs, x), 16, 20) == by_hand


@pytest.mark.slow
@pytest.mark.parametrize("row", variants(), ids=lambda row: row[0])
def test_variant(row):
    name, build, _ = row
    parameters, gmacs = COSTS[name]
    model = build()
    assert model.count_params() == parameters
    assert count_macs(model) / 1e9 == pytest.approx(gmacs, abs=0.005)


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [("radn_final", 13e6, 50), ("compact", 5e6, 18), ("lite", 2e6, 5)],
)
def test_networks_are_within_their_bounds(name, parameters, gmacs):
    assert COSTS[name][0] <= parameters
    assert COSTS[name][1] <= gmacs


def test_presets_say_what_they_cost():
    assert {
        name: (preset["parameters"], preset["gmac"])
        for name, preset in RADN.presets.items()
    } == {name: COSTS[name] for name in RADN.presets}


def test_all_variants_have_a_cost():
    assert [name for name, *_ in variants()] == list(COSTS)
