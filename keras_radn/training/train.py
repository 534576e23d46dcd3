import math
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_radn.datasets import (
    ImagePairs,
    SyntheticBlur,
    patch_dataset,
    whole_images,
)
from keras_radn.models import RADN
from keras_radn.models.deblurring_model import paper_recipe
from keras_radn.models.packaged_weights import write_weights
from keras_radn.training.config import TrainingConfig
from keras_radn.training.schedule import WarmupStableDecay

CHECKPOINT = "last.keras"
WEIGHTS = "weights.npz"


def train(config: TrainingConfig, output: str | os.PathLike) -> RADN:
    """Trains a RADN, or goes on where an earlier call was interrupted.

    The folder receives `last.keras` (model and optimizer, every
    `checkpoint_steps`), `log.csv` (a row per epoch) and, at the end,
    `weights.npz` (the form in which weights are packaged).

    Args:
        config: what to train on what.
        output: folder of the run; a `last.keras` in it is continued.

    Returns:
        The trained model.

    Raises:
        FileNotFoundError: if a folder of the configuration is missing.
        ValueError: if the preset is unknown or its arguments do not fit.
        FloatingPointError: if the loss or a weight is NaN or infinite; the
            last checkpoint is kept.
        tf.errors.OpError: if an image that is met on the way is unreadable or
            smaller than the patches.
    """
    output = Path(output)
    sources, shares = _sources(config)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / CHECKPOINT
    if checkpoint.exists():
        model = keras.models.load_model(checkpoint)
    else:
        model = _new_model(config)
    done = int(model.optimizer.iterations)
    epochs = -(-config.steps // config.steps_per_epoch)
    if done < config.steps:
        model.fit(
            patch_dataset(
                sources,
                shares,
                config.patch_size,
                config.batch_size,
                config.seed,
                first_batch=done,
            ),
            initial_epoch=done // config.steps_per_epoch,
            epochs=epochs,
            steps_per_epoch=config.steps_per_epoch,
            validation_data=_validation(config),
            callbacks=[
                _Checkpoint(checkpoint, config),
                keras.callbacks.CSVLogger(output / "log.csv", append=True),
                *_averaging(model),
            ],
            shuffle=False,  # the stream is in random order already
            verbose=2,
        )
    # `fit` did it, unless the run was killed between its end and here.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    write_weights(model, output / WEIGHTS)
    return model


def _sources(config):
    sources, shares = [], []
    if config.stills is not None:
        sources.append(SyntheticBlur(config.stills))
        shares.append(1 - config.pairs_share if config.pairs else 1)
    if config.pairs is not None:
        sources.append(ImagePairs(config.pairs))
        shares.append(config.pairs_share if config.stills else 1)
    return sources, shares


def _new_model(config):
    keras.utils.set_random_seed(config.seed)
    random = config.encoder_weights == "random"
    model = RADN.from_preset(
        config.preset,
        encoder_weights=None if random else config.encoder_weights,
        dtype=config.dtype,
        **config.model,
    )
    decay_steps = config.decay_steps
    if decay_steps is None:
        decay_steps = config.steps - config.warmup_steps
    schedule = WarmupStableDecay(
        config.learning_rate, config.steps, config.warmup_steps, decay_steps
    )
    optimizer = keras.optimizers.Adam(
        schedule,
        global_clipnorm=config.clip_norm,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum,
    )
    model.compile(**{**paper_recipe(), "optimizer": optimizer})
    return model


def _averaging(model):
    """Validates the averaged weights; `fit` itself leaves them at its end."""
    if not model.optimizer.use_ema:
        return []
    return [keras.callbacks.SwapEMAWeights()]


def _validation(config):
    if config.validation is None:
        return None
    return whole_images(ImagePairs(config.validation))


class _Checkpoint(keras.callbacks.Callback):
    """Saves beside and renames, so that a kill leaves the previous file."""

    def __init__(self, path, config):
        super().__init__()
        self.path = path
        self.config = config

    def on_train_batch_end(self, batch, logs=None):
        step = int(self.model.optimizer.iterations)
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self._explode(step, "the loss")
        last = step >= self.config.steps
        if last or step % self.config.checkpoint_steps == 0:
            # A loss tells of bad weights one step too late.
            for variable in self.model.trainable_variables:
                if not np.isfinite(ops.convert_to_numpy(variable)).all():
                    self._explode(step, variable.path)
            self._save()
        if last:
            self.model.stop_training = True

    def _explode(self, step, what):
        kept = "there is no checkpoint yet"
        if self.path.exists():
            kept = f"the last checkpoint, {self.path}, is kept"
        raise FloatingPointError(
            f"At step {step} {what} is NaN or infinite; {kept}. Lower "
            "`learning_rate` or `clip_norm`, or use float32."
        )

    def _save(self):
        partial = self.path.with_name("partial.keras")
        self.model.save(partial)
        partial.replace(self.path)
