import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_radn.files.training_log import read_log
from keras_radn.models import RADN
from keras_radn.peers import PRESETS as PEERS
from keras_radn.peers.figures import TABLE_1
from keras_radn.training.config import TrainingConfig
from keras_radn.training.run import train
from keras_radn.training.run_folder import LOG
from keras_radn.training.sources import validation_pairs

# Rows of the paper's tables and their PSNR on GoPro, dB.
TABLES = {
    1: {
        row: reported.psnr
        for row, reported in TABLE_1.items()
        if row in RADN.presets
    },
    2: {
        "residual_0": 29.8,
        "residual_0_attention": 30.64,
        "residual_3": 30.69,
        "residual_6": 31.05,
        "residual_6_attention": 31.13,
    },
}


def compare(
    config: TrainingConfig,
    rows: Mapping[str, Mapping],
    output: str | os.PathLike,
) -> list[dict]:
    """Trains variants of a configuration under equal budgets.

    All have the seed, the steps and, where they draw the same patches, the
    data in the same order. What an earlier call has trained is not trained
    again.

    Args:
        config: the budget.
        rows: per name of a row what it changes in the configuration.
        output: a folder that gets a run per row.

    Returns:
        Per row a dictionary with `row` (its name), `parameters`, `loss` (the
        last epoch's), `psnr` (dB) and `ssim` (of the last validation), `images`
        (of how many images these are the means) and `log` (the path of its
        log).

    Raises:
        ValueError: if there is nothing to validate on, or no epoch with a
            validation; and as `train`.
    """
    if not (config.validation or config.gopro):
        raise ValueError(
            "Rows are compared on `validation` or `gopro`. Received neither."
        )
    if config.validation_epochs > config.epochs:
        raise ValueError(
            "Rows are compared by their last validation. Received: "
            f"validation_epochs={config.validation_epochs} for "
            f"{config.epochs} epochs; lower it"
        )
    images = len(validation_pairs(config))
    images = min(images, config.validation_images or images)
    results = []
    for name, changes in rows.items():
        print(f"{name}:", flush=True)
        run = Path(output) / name
        model = train(
            dataclasses.replace(config, **changes),
            run,
            check_data=not results,  # the other rows have the same data
        )
        log = read_log(run / LOG)
        validated = np.flatnonzero(np.isfinite(log["val_psnr"]))[-1]
        results.append(
            {
                "row": name,
                "parameters": model.count_params(),
                "loss": float(log["loss"][-1]),
                "psnr": float(log["val_psnr"][validated]),
                "ssim": float(log["val_ssim"][validated]),
                "images": images,
                "log": run / LOG,
            }
        )
        del model
        keras.backend.clear_session()  # a row's graphs take 2 GB
    return results


def ablate(
    config: TrainingConfig,
    table: int,
    output: str | os.PathLike,
    peers: bool = False,
) -> list[dict]:
    """Trains the rows of a table of the paper under equal budgets.

    Args:
        config: the budget; its `preset` is replaced by those of the rows. With
            `encoder_weights="random"` there is no RADN2, which is RADN1 but
            for its ImageNet encoder. RADN1's encoder is random in any case.
        table: 1 (RADN) or 2 (the residual baseline).
        output: a folder that gets a run per row.
        peers: whether the networks of others in Table 1 are trained, too.
            `model` and `start` of the configuration are not for them.

    Returns:
        Per row what `compare` gives, and `paper_psnr` (on GoPro, dB).

    Raises:
        ValueError: if there is no such table, or one without networks of
            others; and as `compare`.
    """
    if table not in TABLES:
        raise ValueError(f"`table` must be 1 or 2. Received: {table!r}")
    if peers and table != 1:
        raise ValueError(
            f"The networks of others are rows of Table 1. Received: {table}"
        )
    presets = dict(TABLES[table])
    if config.encoder_weights == "random":
        presets.pop("radn2", None)
    rows = {preset: {"preset": preset} for preset in presets}
    if peers:
        competitors = {
            row: reported.psnr
            for row, reported in TABLE_1.items()
            if row in PEERS
        }
        presets |= competitors
        for row in competitors:
            rows[row] = {"preset": row, "model": {}, "start": None}
    if "radn1" in rows:
        # The row of the random encoder, whatever the others start from.
        rows["radn1"]["encoder_weights"] = "random"
    results = compare(config, rows, output)
    return [
        {**result, "paper_psnr": presets[result["row"]]} for result in results
    ]
