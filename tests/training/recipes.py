"""Short recipes, for what a training does around its network."""

from keras_radn.training import TrainingConfig

# For tests of a run's mechanics, which are the same for every network.
SMALL_BASELINE = {"filters": (4, 4, 4), "blocks": 1}


def short_recipe(stills, pairs, **settings):
    """Five steps with all that a recipe can have."""
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
