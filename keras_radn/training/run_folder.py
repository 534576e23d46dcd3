"""The files of a training run in its folder."""

import csv
import dataclasses
import json
import math
import os
from pathlib import Path

import keras

from keras_radn.files import remove_partials, written_beside
from keras_radn.files.training_log import COLUMNS, read_log
from keras_radn.models.packaged_weights import write_weights
from keras_radn.training.config import TrainingConfig

CHECKPOINT = "last.keras"
CONFIG = "config.json"
LOG = "log.csv"
# A model, and its weights alone in the format of the packaged ones.
MODEL, WEIGHTS = "model.keras", "weights.npz"
BEST_MODEL, BEST_WEIGHTS = "best.keras", "best.npz"
_FILES = CHECKPOINT, CONFIG, LOG, MODEL, WEIGHTS, BEST_MODEL, BEST_WEIGHTS
# What a checkpoint holds, so that a run which goes on cannot change it.
_FIXED = (
    "preset",
    "encoder_weights",
    "model",
    "start",
    "dtype",
    "loss",
    "optimizer",
    "steering_lr_ratio",
    "steering_start",
    "ema_momentum",
    "clip_norm",
)


def check_same_run(config: TrainingConfig, output: Path) -> None:
    """Refuses to go on with a run by a configuration that does not fit it.

    Args:
        config: the configuration.
        output: folder of the run.

    Raises:
        ValueError: if the network, loss or optimizer of the run is another
            one, or its configuration cannot be read.
    """
    path = output / CONFIG
    # Runs of earlier versions have no such file.
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text())
    except ValueError as error:  # also of text that is not UTF-8
        raise ValueError(
            f"{path}: is damaged ({error}); remove it, and give the "
            "configuration of the run."
        ) from error
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    for key in _FIXED:
        if key in before and before[key] != now[key]:
            raise ValueError(
                f"The run in {path.parent} has {key}={before[key]!r}. "
                f"Received: {now[key]!r}; give the same, or another folder."
            )


def prepare(output: Path, config: TrainingConfig, done: int) -> float:
    """Makes the folder as it was after some steps.

    Args:
        output: the folder, which is made if it is not there.
        config: the configuration of the run.
        done: steps that its checkpoint has behind it.

    Returns:
        The best PSNR so far; its row may be cut from the log, but the file of
        the best weights stays.
    """
    output.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        remove_partials(output / name)
    with written_beside(output / CONFIG) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(config), indent=2))
    best = _best_psnr(output / LOG)
    _cut_log(output / LOG, done)
    return best


def write_model(
    model: keras.Model,
    model_file: str | os.PathLike,
    weights_file: str | os.PathLike,
) -> None:
    """Writes a model, and its weights alone.

    Args:
        model: a network of this package.
        model_file: a `.keras` file.
        weights_file: a file in the format of `write_weights`.
    """
    # First, as it takes no time.
    write_weights(model, weights_file)
    # Without the optimizer and its state, which only a checkpoint needs.
    plain = type(model).from_config(model.get_config())
    plain.set_weights(model.get_weights())
    with written_beside(model_file) as partial:
        plain.save(partial)


def _cut_log(path, done):
    """Drops the rows of steps whose checkpoint was not written any more."""
    # It is empty if the run was killed in its first epoch.
    if not path.exists() or not path.stat().st_size:
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (
        written_beside(path) as partial,
        partial.open("w", newline="") as file,
    ):
        # The columns of earlier versions depended on the validation.
        log = csv.DictWriter(
            file, COLUMNS, math.nan, "ignore", lineterminator="\n"
        )
        log.writeheader()
        log.writerows(row for row in rows if int(row["step"]) <= done)


def _best_psnr(path):
    """The highest `val_psnr` of a log, or minus infinity."""
    if not path.exists() or not path.stat().st_size:
        return -math.inf
    log = read_log(path)
    psnr = log["val_psnr"] if "val_psnr" in log.dtype.names else ()
    return max(filter(math.isfinite, psnr), default=-math.inf)
