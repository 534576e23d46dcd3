import contextlib
import dataclasses
import math
import os
import time
from pathlib import Path
from typing import Any

import keras

from keras_radn.datasets import check_sources
from keras_radn.inference.model_file import read_model
from keras_radn.models.deblurring_model import DeblurringModel
from keras_radn.ops import backend
from keras_radn.training.batches import ProcessBatches
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
from keras_radn.training.networks import (
    compile_network,
    learning_rates,
    new_model,
)
from keras_radn.training.norm_statistics import measure_statistics
from keras_radn.training.run_folder import (
    BEST_MODEL,
    BEST_WEIGHTS,
    CHECKPOINT,
    LOG,
    MODEL,
    WEIGHTS,
    check_same_run,
    prepare,
    write_model,
)
from keras_radn.training.sources import (
    blur_strength,
    training_sources,
    validation_pairs,
)
from keras_radn.training.team import AverageWeights, Team
from keras_radn.training.time_limit import TimeLimit

# More steps than there are in any time.
_ENDLESS = 10**9
# Share of the time in which the rate falls, unless a configuration says it.
_FALLING = 0.25
# Seconds for what an epoch's end does beside the checkpoint.
_MARGIN = 3


def train(
    config: TrainingConfig,
    output: str | os.PathLike,
    strategy: Any | None = None,
    check_data: bool = True,
    team: Team | None = None,
    minutes: float | None = None,
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
        strategy: a `tf.distribute.Strategy` that distributes each batch over
            its replicas; `None` is the current one, if there is one.
        check_data: whether a new run begins with reading all images once.
        team: the processes that train the network together, of which this is
            one; see `train_in_processes`.
        minutes: how long all of it may take, in place of the `steps` of
            `config`: the learning rate falls to zero over the last part of the
            time (as large a part as `decay_steps` is of `steps`; a quarter if
            that is 0), and what is written at the end is written before it is
            over. One step is done in any case. Not for several processes.

    Returns:
        The trained model.

    Raises:
        FileNotFoundError: if a folder or the `start` of the configuration is
            missing.
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
    if minutes is not None and team is not None:
        raise ValueError(
            "`minutes` are for one process: each would end at another step. "
            f"Received: minutes={minutes} and a team of {team.count}"
        )
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    output = Path(output)
    checkpoint = output / CHECKPOINT
    strategy = strategy or backend.current_strategy()
    plan = config if minutes is None else _endless(config)
    stages = _checked_stages(plan, strategy, team)
    rates = learning_rates(plan)
    sources = training_sources(config)
    validation = validation_pairs(config)
    chief = is_chief(strategy) and (team is None or team.index == 0)
    resumed = checkpoint.exists()
    with strategy.scope():
        rate = rates if minutes is None else config.learning_rate
        if resumed:
            model = _resumed(config, output, rate)
        else:
            model = new_model(config, rate)
    # After the model, whose errors are quicker to be found than the data's.
    if check_data and not resumed:
        if chief:
            _check_data(sources, stages, validation)
        if team is not None:  # the others would meet a bad image on their own
            team.meet()
    done = completed_steps(model)
    with _batches(plan, sources, strategy, team) as batches:
        measure = None
        if strategy.num_replicas_in_sync == 1:
            measure = _measurement(model, plan, batches)
        callbacks = _callbacks(plan, team, checkpoint, measure)
        bar = contextlib.nullcontext()
        if chief:
            best = prepare(output, config, done)
            progress = TrainingProgress(
                plan.steps, lambda step: plan.at(step).batch_size
            )
            if minutes is not None:
                end -= _rehearsed(model, config, output, measure)
                limit = _time_limit(config, rates, end, progress.expect)
                callbacks.append(limit)
            validate = _validation(
                model, config, validation, output, best, measure, end
            )
            callbacks += [validate, DeadFilters(), progress, *_records(output)]
            bar = progress.bar
        if done < plan.steps:
            with bar:
                _fit(model, plan, batches, done, callbacks)
        # `fit` did it, unless the run was killed between its end and here.
        model.optimizer.finalize_variable_values(model.trainable_variables)
        if chief:
            _finish(model, config, output, measure)
    return model


def _endless(config):
    """The configuration of a run that ends with its time."""
    return dataclasses.replace(config, steps=_ENDLESS, decay_steps=0)


def _check_data(sources, stages, validation):
    """Reads all images once."""
    check_sources(sources, max(stage.patch_size for stage in stages))
    if validation is not None:
        check_sources([validation], SSIM_WINDOW)


def _batches(config, sources, strategy, team):
    if not backend.TENSORFLOW_TRAINING:
        return ProcessBatches(config, sources)
    from keras_radn.training.data_sets import DataSetBatches

    return DataSetBatches(config, sources, strategy, team)


def _callbacks(config, team, checkpoint, measure):
    """What each of the processes that train together does."""
    callbacks = [Guard(config.steps, checkpoint)]
    if config.freeze_norms is not None:
        callbacks.append(FreezeNorms(config.freeze_norms, measure))
    if team is not None:
        callbacks.append(AverageWeights(team, config.average_steps))
    return callbacks


def _validation(model, config, pairs, output, best, measure, end):
    def write_best():
        write_model(model, output / BEST_MODEL, output / BEST_WEIGHTS)

    return Validation(
        pairs,
        config.validation_images,
        config.validation_epochs,
        best,
        write_best,
        measure,
        end,
    )


def _fit(model, config, batches, done, callbacks):
    """Does the steps that are left after those that are done."""
    model.fit(
        batches.training(done),
        initial_epoch=done // config.steps_per_epoch,
        epochs=config.epochs,
        steps_per_epoch=config.steps_per_epoch,
        callbacks=callbacks,
        shuffle=False,  # the stream is in random order already
        verbose=0,
    )


def _time_limit(config, rates, end, expect):
    share = _FALLING
    if config.decay_steps is None:
        share = 1.0
    elif config.decay_steps:
        share = min(1.0, config.decay_steps / config.steps)
    return TimeLimit(end, lambda step: float(rates(step)), share, expect)


def _rehearsed(model, config, output, measure):
    """Writes every file once; returns the seconds to reserve for the end."""
    start = time.monotonic()
    model.optimizer.build(model.trainable_variables)
    Checkpoint(output / CHECKPOINT).save(model)
    _finish(model, config, output, measure)
    return 2 * (time.monotonic() - start) + _MARGIN


def _finish(model, config, output, measure):
    if measure is not None and config.ema_momentum:
        measure()
    write_model(model, output / MODEL, output / WEIGHTS)


def _resumed(config, output, rate):
    check_same_run(config, output)
    model = read_model(output / CHECKPOINT, compile=True)
    # `steps` or rates may have been changed since.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    by_schedule = isinstance(optimizer.get_config()["learning_rate"], dict)
    if by_schedule and isinstance(rate, float):
        compile_network(
            model, config, _with_number(optimizer, model, config, rate)
        )
    else:
        model.optimizer.learning_rate = rate
    return model


def _with_number(optimizer, model, config, rate):
    """A copy of an optimizer whose rate is a number.

    Keras refuses to take away a schedule.
    """
    copy = config.make_optimizer(rate)
    copy.build(model.trainable_variables)
    variables = [v for v in copy.variables if v.name != "learning_rate"]
    for variable, value in zip(variables, optimizer.variables, strict=True):
        variable.assign(value)
    return copy


def _records(output):
    """Callbacks that write what a run leaves; the checkpoint comes last."""
    records = [keras.callbacks.CSVLogger(output / LOG, append=True)]
    if backend.TENSORFLOW_TRAINING:
        folder = output / "tensorboard"
        records.append(keras.callbacks.TensorBoard(folder, write_graph=False))
    return [*records, Checkpoint(output / CHECKPOINT)]


def _measurement(model, config, batches):
    """A function that measures statistics for the weights as they are then.

    It does nothing once the norms are frozen.
    """
    call = backend.training_call(model)

    def measure():
        step = completed_steps(model)
        if config.freeze_norms is None or step <= config.freeze_norms:
            measure_statistics(model, batches.statistics(step), call)

    return measure


def _checked_stages(config, strategy, team):
    stages = [stage for *_, stage in config.stages()]
    replicas = team.count if team else strategy.num_replicas_in_sync
    for stage in stages:
        blur_strength(stage)  # so that a wrong one is an error here
        if stage.batch_size % replicas:
            raise ValueError(
                "The replicas must divide `batch_size`. Received: "
                f"batch_size={stage.batch_size} for {replicas} replicas"
            )
    return stages
