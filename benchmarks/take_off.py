"""Measures when a network that starts from random weights begins to deblur.

    python benchmarks/take_off.py --stills DIR [--steps 400]

Trains RADN by the first part of the packaged `from_scratch` and by variants of
it, each with one change and the same seed. For each hundred steps, prints by
how many dB the network lowers the squared error over all patches that were
trained on (sharpening alone gives 0.1 to 0.15 dB). At the end, prints the share
of the decoder's filters that are dead: their ReLU is zero on all of 64 patches.
"""

import argparse
import dataclasses
import os
import re
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from keras_radn import training
from keras_radn.cli.tables import markdown_table
from keras_radn.datasets import patch_dataset
from keras_radn.training import TrainingConfig
from keras_radn.training.run import new_model
from keras_radn.training.sources import source_shares, training_sources

ROWS = {
    "as packaged": {},
    "blurs of all lengths and kinds": {"strength": {}},
    "any crop": {"candidates": 1},
    "no balance": {"balance": 0.0},
    "Adam at 5e-4": {"optimizer": "adam", "learning_rate": 5e-4},
    "offsets from the start": {"steering_lr_ratio": 1.0, "steering_start": 0},
}
PART = 100


def dead_share(model: keras.Model, patches: tf.data.Dataset) -> float:
    """Returns the share of the decoder's ReLU filters that are dead.

    They are those without any gradient.
    """
    biases = [
        variable.value
        for variable in model.trainable_variables
        if re.search(r"decoder_(block\d/unit\d|up\d)/bias", variable.path)
    ]
    alive = [np.zeros(bias.shape, bool) for bias in biases]
    for blurred, sharp, *_ in patches:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(blurred, training=True) - sharp) ** 2)
        for flags, gradient in zip(
            alive, tape.gradient(loss, biases), strict=True
        ):
            flags |= gradient.numpy() != 0
    return 1 - float(np.mean(np.concatenate(alive)))


def results(config: TrainingConfig) -> tuple[list[float], float]:
    """Returns the gain of each hundred steps in dB, and the dead share."""
    stream = patch_dataset(
        training_sources(config),
        source_shares(config),
        config.patch_size,
        config.batch_size,
        config.seed,
        balance=config.balance,
    )
    patches = stream.take(config.steps)
    before = [
        np.mean((blurred - sharp) ** 2)
        for blurred, sharp, *_ in patches.as_numpy_iterator()
    ]
    model = new_model(config)
    model.compile(model.optimizer, model.loss, metrics=["mean_squared_error"])
    after = model.fit(
        patches,
        epochs=config.steps // PART,
        steps_per_epoch=PART,
        shuffle=False,
        verbose=0,
    ).history["mean_squared_error"]
    before = np.reshape(before, (-1, PART)).mean(axis=1)
    rest = stream.skip(config.steps).take(-(-64 // config.batch_size))
    return (10 * np.log10(before / after)).tolist(), dead_share(model, rest)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stills", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--row", choices=ROWS, help="this one only")
    options = parser.parse_args()
    if options.steps < 2 * PART or options.steps % PART:
        parser.error(
            f"--steps must be a multiple of {PART}, at least {2 * PART}"
        )
    packaged = Path(training.__file__).parent / "configs"
    config = TrainingConfig.from_toml(
        packaged / "from_scratch.toml", stills=options.stills
    )
    config = dataclasses.replace(
        config,
        steps=options.steps,
        decay_steps=0,
        ema_momentum=0.0,
        progression=[],
    )
    columns = {"row": ("recipe", "")} | {
        str(step): (f"step {step}", "+.2f")
        for step in range(PART, options.steps + 1, PART)
    }
    columns["dead"] = ("dead filters", ".0%")
    rows = []
    for name, changes in ROWS.items():
        if options.row in (None, name):
            gains, dead = results(dataclasses.replace(config, **changes))
            values = (name, *gains, dead)
            rows.append(dict(zip(columns, values, strict=True)))
    print(markdown_table(rows, columns))


if __name__ == "__main__":
    main()
