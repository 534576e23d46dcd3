"""Short recipes and a network that is traced in a moment."""

from keras_radn.training import TrainingConfig

# For tests of a run's mechanics, which are the same for every network.
SMALL_BASELINE = {"filters": (4, 4, 4), "blocks": 1}


def short_recipe(stills, pairs, **settings):
    """Returns a recipe of five steps that uses every option."""
    common = {
        "stills": str(stills),
        "pairs": str(pairs),
        "pairs_share": 0.5,
        "validation": str(pairs),
        "patch_size": 32,
        "batch_size": 2,
        "steps": 5,
        "warmup_steps": 1,
        "decay_steps": None,
        "steps_per_epoch": 2,
        "ema_momentum": 0.5,
        "balance": 1e-2,
        "freeze_norms": 3,
    }
    return TrainingConfig(**common, **settings)
