import pytest

from keras_radn.training import TrainingConfig
from tests.training.networks import SMALL_RADN


@pytest.fixture
def config(stills_folder, pairs_folder):
    return TrainingConfig(
        preset="radn4",
        encoder_weights="random",
        model=SMALL_RADN,
        stills=str(stills_folder),
        pairs=str(pairs_folder),
        pairs_share=0.5,
        validation=str(pairs_folder),
        patch_size=32,
        batch_size=2,
        steps=5,
        warmup_steps=1,
        decay_steps=None,
        learning_rate=5e-4,
        steps_per_epoch=2,
        ema_momentum=0.5,
        balance=1e-2,
        freeze_norms=3,
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
