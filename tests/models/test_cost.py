import keras
import pytest
from keras import layers

from keras_radn import RADN
from keras_radn.cli.models import variants
from keras_radn.models.cost import count_macs

# Parameters and GMAC at 256x256, as they stand in the README.
COSTS = {
    "radn1": (7_231_603, 8.65),
    "radn2": (7_231_603, 8.65),
    "radn3": (8_718_259, 10.30),
    "radn4": (9_046_579, 10.42),
    "radn_final": (10_337_719, 12.11),
    "lite": (1_635_859, 2.80),
    "radn_final, stem_pool=False": (10_272_119, 45.50),
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


def test_final_is_within_its_bounds():
    parameters, gmacs = COSTS["radn_final"]
    assert parameters <= 13_000_000
    assert gmacs <= 13


def test_lite_is_light():
    parameters, gmacs = COSTS["lite"]
    assert parameters <= 2_500_000
    assert gmacs <= 3


def test_presets_say_what_they_cost():
    assert {
        name: (preset["parameters"], preset["gmac"])
        for name, preset in RADN.presets.items()
    } == {name: COSTS[name] for name in RADN.presets}


def test_all_variants_have_a_cost():
    assert [name for name, *_ in variants()] == list(COSTS)
