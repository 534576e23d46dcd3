import dataclasses

import pytest

from tests.conftest import SMALL_RADN
from tests.training.recipes import SMALL_BASELINE, short_recipe


@pytest.fixture
def config(stills_folder, pairs_folder):
    """A short recipe for a network that has every layer."""
    return short_recipe(
        stills_folder,
        pairs_folder,
        preset="radn4",
        encoder_weights="random",
        model=SMALL_RADN,
        learning_rate=5e-4,
        progression=[
            {
                "step": 3,
                "patch_size": 48,
                "batch_size": 3,
                "learning_rate": 1e-4,
                "strength": {"path_scale": 1.0},
            }
        ],
    )


@pytest.fixture
def quick(config):
    """The same recipe for a network that is traced in a moment."""
    return dataclasses.replace(
        config, preset="residual_0", model=SMALL_BASELINE
    )
