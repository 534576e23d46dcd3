import csv
import dataclasses
import functools
import json
import math
import os
from pathlib import Path

import keras
import tensorflow as tf

from keras_radn.datasets import (
    BlurStrength,
    ImagePairs,
    PatchSource,
    SyntheticBlur,
    VideoBlur,
    check_sources,
    gopro_pairs,
    patch_dataset,
)
from keras_radn.files import remove_partials, written_beside
from keras_radn.models import RADN, ResidualBaseline
from keras_radn.models.deblurring_model import DeblurringModel, paper_recipe
from keras_radn.models.packaged_weights import write_weights
from keras_radn.optimizers import WarmupStableDecay
from keras_radn.training.callbacks import (
    Checkpoint,
    DeadFilters,
    FreezeNorms,
    Guard,
    TrainingProgress,
    Validation,
    completed_steps,
)
from keras_radn.training.config import TrainingConfig
from keras_radn.training.distribution import is_chief
from keras_radn.training.evaluate import SSIM_WINDOW
from keras_radn.training_log import COLUMNS, read_log

CHECKPOINT = "last.keras"
CONFIG = "config.json"
LOG = "log.csv"
# Of a model, and of its weights as they are packaged.
MODEL, WEIGHTS = "model.keras", "weights.npz"
BEST_MODEL, BEST_WEIGHTS = "best.keras", "best.npz"
_FILES = CHECKPOINT, CONFIG, LOG, MODEL, WEIGHTS, BEST_MODEL, BEST_WEIGHTS
# What a checkpoint holds, so that a run which goes on cannot change it.
_FIXED = (
    "preset",
    "encoder_weights",
    "model",
    "dtype",
    "loss",
    "optimizer",
    "steering_lr_ratio",
    "steering_start",
    "decoder_lr_ratio",
    "ema_momentum",
    "clip_norm",
)


def train(
    config: TrainingConfig,
    output: str | os.PathLike,
    strategy: tf.distribute.Strategy | None = None,
    check_data: bool = True,
) -> DeblurringModel:
    """Trains a network, or goes on where an earlier call was interrupted.

    The folder receives `last.keras` (model and optimizer, at the end of each
    epoch), `config.json`, `log.csv` (a row per epoch), `tensorboard/`,
    `best.keras` and `best.npz` (of the validation with the highest PSNR so far)
    and, at the end, `model.keras` (with the averaged weights, if there are any)
    and `weights.npz` (the form in which weights are packaged). A run that was
    killed loses the steps since the last checkpoint; the data and the rows
    that follow are those that the unbroken run would have had.

    Args:
        config: what to train on what.
        output: folder of the run; a `last.keras` in it is continued, with the
            learning rates of `config` from there on. Several machines must
            see the same folder.
        strategy: a strategy that distributes each batch over its replicas;
            `None` is the current one.
        check_data: whether a new run begins with reading all images once.

    Returns:
        The trained model.

    Raises:
        FileNotFoundError: if a folder of the configuration is missing.
        ValueError: if the preset is unknown, its arguments do not fit, the
            replicas do not divide the batch, an image is unreadable, too
            small, or not of the size of its partner, or the run that is
            continued has another network, loss or optimizer.
        FloatingPointError: if the loss or a weight is NaN or infinite; the
            last checkpoint is kept.

    Example:

    ```python
    from keras_radn import training

    config = training.TrainingConfig(gopro="GOPRO_Large")
    model = training.train(config, "run")  # days; the same call goes on
    ```
    """
    output = Path(output)
    strategy = strategy or tf.distribute.get_strategy()
    stages = [stage for *_, stage in config.stages()]
    for stage in stages:
        _check_batch(stage.batch_size, strategy)
        blur_strength(stage)  # so that a wrong one is an error here
    sources = training_sources(config)
    validation = validation_pairs(config)
    chief = is_chief(strategy)
    checkpoint = output / CHECKPOINT
    resumed = checkpoint.exists()
    if resumed:
        _check_same_run(config, output / CONFIG)
    with strategy.scope():
        if resumed:
            model = keras.models.load_model(checkpoint)
            # `steps` or rates may have been changed since.
            model.optimizer.learning_rate = _learning_rates(config)
        else:
            model = new_model(config)
    # After the model, whose errors are quicker to be found than the data's.
    if check_data and not resumed and chief:
        check_sources(sources, max(stage.patch_size for stage in stages))
        if validation is not None:
            check_sources([validation], SSIM_WINDOW)
    done = completed_steps(model)
    epoch = done // config.steps_per_epoch
    callbacks = [Guard(config.steps, checkpoint)]
    if config.freeze_norms is not None:
        callbacks.append(FreezeNorms(config.freeze_norms))
    progress = TrainingProgress(
        config.steps, lambda step: config.at(step).batch_size
    )
    if chief:
        output.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            remove_partials(output / name)
        with written_beside(output / CONFIG) as partial:
            partial.write_text(json.dumps(dataclasses.asdict(config), indent=2))
        # Before its row may be cut: the file of the best weights stays.
        best = _best_psnr(output / LOG)
        _cut_log(output / LOG, done)
        callbacks += [
            Validation(
                validation,
                config.validation_images,
                config.validation_epochs,
                best,
                lambda: _write(
                    model, output / BEST_MODEL, output / BEST_WEIGHTS
                ),
            ),
            DeadFilters(),
            progress,
            keras.callbacks.CSVLogger(output / LOG, append=True),
            keras.callbacks.TensorBoard(
                output / "tensorboard", write_graph=False
            ),
            Checkpoint(checkpoint),
        ]
    if done < config.steps:
        with progress.bar:
            model.fit(
                strategy.distribute_datasets_from_function(
                    functools.partial(_stream, config, sources, done)
                ),
                initial_epoch=epoch,
                epochs=config.epochs,
                steps_per_epoch=config.steps_per_epoch,
                callbacks=callbacks,
                shuffle=False,  # the stream is in random order already
                verbose=0,
            )
    # `fit` did it, unless the run was killed between its end and here.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    if chief:
        _write(model, output / MODEL, output / WEIGHTS)
    return model


def _write(model, model_file, weights_file):
    # Without the optimizer and its state, which only a checkpoint needs.
    plain = type(model).from_config(model.get_config())
    plain.set_weights(model.get_weights())
    with written_beside(model_file) as partial:
        plain.save(partial)
    write_weights(model, weights_file)


def _stream(config, sources, done, context):
    """The batches after the first `done` ones, of all parts of the run.

    One stream, not one `fit` for each size: at its end the averaged weights
    would take the place of the current ones.
    """
    parts = context.num_replicas_in_sync // context.num_input_pipelines
    streams = []
    for first, end, stage in config.stages():
        first = max(first, done)
        if first < end:
            strength = blur_strength(stage)
            stream = patch_dataset(
                [source.with_strength(strength) for source in sources],
                source_shares(stage),
                stage.patch_size,
                stage.batch_size,
                stage.seed,
                first_batch=first,
                context=context,
                balance=stage.balance,
            )
            streams.append(stream.take((end - first) * parts))
    return functools.reduce(tf.data.Dataset.concatenate, streams)


def training_sources(config: TrainingConfig) -> list[PatchSource]:
    """What a training draws its patches from.

    Args:
        config: the configuration.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: if an argument of the blur's strength is not known.
    """
    strength = blur_strength(config)
    sources = []
    if config.gopro:
        blur = config.blur or "blur"
        sources.append(gopro_pairs(config.gopro, "train", blur))
    if config.pairs:
        sources.append(ImagePairs(config.pairs, config.blur))
    if config.videos:
        sources.append(VideoBlur(config.videos, strength))
    if config.stills:
        sources.append(
            SyntheticBlur(config.stills, strength, config.candidates)
        )
    return sources


def source_shares(config: TrainingConfig) -> list[float]:
    """The share of each of the `training_sources` in the patches.

    Args:
        config: the configuration.
    """
    shares, rest = [], 1.0
    if config.gopro or config.pairs:
        others = config.stills or config.videos
        shares.append(config.pairs_share if others else 1.0)
        rest -= shares[-1]
    if config.videos:
        share = config.videos_share if config.stills else 1.0
        shares.append(rest * share)
        rest -= shares[-1]
    if config.stills:
        shares.append(rest)
    return shares


def blur_strength(config: TrainingConfig) -> BlurStrength:
    """The blur that `strength` describes.

    Args:
        config: the configuration.

    Raises:
        ValueError: if an argument is not known.
    """
    try:
        return BlurStrength(**config.strength)
    except TypeError as error:
        raise ValueError(
            f"`strength` has an unknown entry: {error}."
        ) from error


def validation_pairs(config: TrainingConfig) -> ImagePairs | None:
    """What a training is validated on.

    Args:
        config: the configuration.

    Raises:
        FileNotFoundError: if the folder is missing or empty.
    """
    if config.validation:
        return ImagePairs(config.validation, config.validation_blur)
    if config.gopro:
        return gopro_pairs(config.gopro, "test", config.blur or "blur")
    return None


def new_model(config: TrainingConfig) -> DeblurringModel:
    """The compiled network with which a training begins.

    Args:
        config: the configuration.

    Raises:
        ValueError: if the preset is unknown or its arguments do not fit.
    """
    keras.utils.set_random_seed(config.seed)
    arguments = {"dtype": config.dtype, **config.model}
    if config.preset in ResidualBaseline.presets:
        network = ResidualBaseline
    else:
        network = RADN
        if config.encoder_weights == "random":
            arguments["encoder_weights"] = None
        elif config.encoder_weights != "preset":
            arguments["encoder_weights"] = config.encoder_weights
    try:
        model = network.from_preset(config.preset, **arguments)
    except TypeError as error:
        raise ValueError(f"`model` has an unknown entry: {error}.") from error
    recipe = {
        "optimizer": config.make_optimizer(_learning_rates(config)),
        "loss": config.make_loss(),
    }
    model.compile(**{**paper_recipe(), **recipe})
    return model


def _learning_rates(config):
    decay_steps = config.decay_steps
    if decay_steps is None:
        decay_steps = config.steps - config.warmup_steps
    changes = [
        (part["step"], part["learning_rate"])
        for part in config.progression
        if "learning_rate" in part
    ]
    return WarmupStableDecay(
        config.learning_rate,
        config.steps,
        config.warmup_steps,
        decay_steps,
        changes,
    )


def _check_batch(batch_size, strategy):
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(
            "The replicas must divide `batch_size`. Received: "
            f"batch_size={batch_size} for {replicas} replicas"
        )


def _check_same_run(config, path):
    # Runs of earlier versions have no such file.
    if not path.exists():
        return
    before = json.loads(path.read_text())
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    for key in _FIXED:
        if key in before and before[key] != now[key]:
            raise ValueError(
                f"The run in {path.parent} has {key}={before[key]!r}. "
                f"Received: {now[key]!r}; give the same, or another folder."
            )


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
