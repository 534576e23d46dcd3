"""What a training run does beside the steps themselves."""

import datetime
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from keras_radn.datasets import ImagePairs
from keras_radn.files import written_beside
from keras_radn.layers.roles import steers
from keras_radn.ops import backend
from keras_radn.pictures.pixels import in_depth, white
from keras_radn.training.evaluate import scores
from keras_radn.training.norm_statistics import norms_of


def completed_steps(model: keras.Model) -> int:
    """Training steps that the model has behind it, in all its runs.

    In the middle of an epoch JAX keeps its weights and this number elsewhere.
    """
    return int(ops.convert_to_numpy(model.optimizer.iterations))


class Guard(keras.callbacks.Callback):
    """Stops at the last step, and at a loss that is NaN or infinite.

    Args:
        steps: steps of the whole run.
        checkpoint: the file that is kept, for the message.

    Raises:
        FloatingPointError: during training, if the loss or, at the end of an
            epoch, a weight is NaN or infinite.
    """

    def __init__(self, steps: int, checkpoint: Path):
        super().__init__()
        self.steps = steps
        self.checkpoint = checkpoint

    def on_train_begin(self, logs=None):
        self.step = completed_steps(self.model)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self._stop("the loss")
        if self.step >= self.steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        # A loss tells of bad weights one step too late.
        for variable in self.model.trainable_variables:
            if not np.isfinite(ops.convert_to_numpy(variable)).all():
                self._stop(variable.path)

    def _stop(self, what):
        kept = "there is no checkpoint yet"
        if self.checkpoint.exists():
            kept = f"the last checkpoint, {self.checkpoint}, is kept"
        raise FloatingPointError(
            f"At step {self.step} {what} is NaN or infinite; "
            f"{kept}. Lower `learning_rate` or `clip_norm`, or use float32."
        )


class FreezeNorms(keras.callbacks.Callback):
    """From a step on, batch norms use their moving averages in training, too.

    The statistics of a small batch are noise, and the network is used with the
    averages.

    Args:
        step: steps of the whole run before that.
        measure: called at that step, before they are frozen: sets the averages
            to what the weights need (`measure_statistics`).
    """

    def __init__(self, step: int, measure: Callable[[], None] | None = None):
        super().__init__()
        self.step = step
        self.measure = measure

    def on_train_begin(self, logs=None):
        self.next = completed_steps(self.model)
        self.frozen = False

    def on_train_batch_begin(self, batch, logs=None):
        if self.next >= self.step and not self.frozen:
            if self.next == self.step and self.measure is not None:
                backend.read_state(self.model)
                self.measure()
            self._set(True)
        self.next += 1

    def on_train_end(self, logs=None):
        if self.frozen:
            self._set(False)

    def _set(self, frozen):
        self.frozen = frozen
        for norm in norms_of(self.model):
            norm.frozen = frozen
        self.model.make_train_function(force=True)  # the old one is traced


class DeadFilters(keras.callbacks.Callback):
    """Adds `dead_filters` to the logs of an epoch: a share in [0, 1].

    A filter whose ReLU was zero everywhere gets no gradient, and its bias
    stays what it is. Counted are the biases of convolutions that did not
    change in the epoch, without what waits for `steering_start`. Momentum
    keeps a bias moving for some hundred steps; of a shorter epoch, the share
    is too low.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self.before = self._biases()

    def on_epoch_end(self, epoch, logs=None):
        logs["dead_filters"] = float(np.mean(self.before == self._biases()))

    def _biases(self):
        return np.concatenate(
            [
                ops.convert_to_numpy(variable)
                for variable in self.model.trainable_variables
                if variable.name == "bias" and not steers(variable)
            ]
        )


class Checkpoint(keras.callbacks.Callback):
    """Saves model and optimizer at the end of each epoch.

    Keras' own ModelCheckpoint and BackupAndRestore write over the file that
    they replace, so that a kill at that moment loses both.

    Args:
        path: a file that ends in `.keras`; it is written beside and renamed.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        self.save(self.model)

    def save(self, model: keras.Model) -> None:
        """Writes the file."""
        with written_beside(self.path) as partial:
            model.save(partial)


class Validation(keras.callbacks.Callback):
    """Adds `val_psnr` (dB) and `val_ssim` to the logs of an epoch.

    By the protocol of `evaluate_pairs`, with the averaged weights if the
    optimizer has an exponential moving average.

    Args:
        pairs: what to validate on; `None` logs NaN.
        images: how many of the pairs, at equal distances; `None` for all.
        epochs: epochs between two validations; the others log NaN, but for
            the last one of the run.
        best: highest `val_psnr` of earlier runs.
        write_best: called when `val_psnr` is higher than ever, while the model
            has the averaged weights.
        measure: called before a validation with averaged weights: gives batch
            norms the statistics that these need.
        end: no validation goes on beyond this moment of `time.monotonic`, if it
            takes as long as the one before.
    """

    def __init__(
        self,
        pairs: ImagePairs | None,
        images: int | None = None,
        epochs: int = 1,
        best: float = -math.inf,
        write_best: Callable[[], None] | None = None,
        measure: Callable[[], None] | None = None,
        end: float = math.inf,
    ):
        super().__init__()
        self.measure = measure
        self.end = end
        self.seconds = 0.0
        self.pairs = pairs
        self.indices = []
        if pairs is not None:
            count = min(images or len(pairs), len(pairs))
            self.indices = np.linspace(0, len(pairs) - 1, count)
            self.indices = self.indices.round().astype(int)
        self.epochs = epochs
        self.best = best
        self.write_best = write_best
        self._swap = keras.callbacks.SwapEMAWeights()

    def set_model(self, model):
        super().set_model(model)
        self._swap.set_model(model)
        self._predict = backend.inference_call(model)

    def on_epoch_end(self, epoch, logs=None):
        means = {"psnr": math.nan, "ssim": math.nan}
        start = time.monotonic()
        # `Guard` or `TimeLimit` said at the last step that it is the last.
        last = getattr(self.model, "stop_training", False)
        due = last or (epoch + 1) % self.epochs == 0
        if len(self.indices) and due and start + self.seconds < self.end:
            # In float16 another optimizer, which scales the loss, wraps it.
            optimizer = self.model.optimizer
            optimizer = getattr(optimizer, "inner_optimizer", optimizer)
            averaged = optimizer.use_ema
            if averaged:
                self._swap.on_test_begin()
                statistics = [v.numpy() for v in self._statistics()]
                if self.measure is not None:
                    self.measure()
            rows = [self._scores(index) for index in self.indices]
            means = {key: np.mean([row[key] for row in rows]) for key in means}
            if means["psnr"] > self.best:
                self.best = means["psnr"]
                if self.write_best is not None:
                    self.write_best()
            if averaged:
                self._swap.on_test_end()
                for variable, value in zip(
                    self._statistics(), statistics, strict=True
                ):
                    variable.assign(value)
            self.seconds = time.monotonic() - start
        logs.update({f"val_{key}": float(means[key]) for key in means})

    def _statistics(self):
        return [
            variable
            for norm in norms_of(self.model)
            for variable in norm.non_trainable_variables
        ]

    def _scores(self, index):
        blurred, sharp = self.pairs.whole(index)
        images = blurred[np.newaxis].astype("float32") / white(blurred.dtype)
        deblurred = np.clip(self._predict(images)[0], 0, 1)
        return scores(sharp, in_depth(deblurred, "uint8"))


class TrainingProgress(keras.callbacks.Callback):
    """Shows the step, images per second and the time that is left.

    A line per epoch, and a bar in a terminal while `bar` is entered as a
    context. The logs get `step`, `learning_rate` and `images_per_second`, for
    those who come after it.

    Args:
        steps: steps of the whole run.
        batch_size: images of a step, of all replicas together: a function of
            the steps before it.
        console: where to write; `None` is stdout.
    """

    def __init__(
        self,
        steps: int,
        batch_size: Callable[[int], int],
        console: Console | None = None,
    ):
        super().__init__()
        self.steps = steps
        self.batch_size = batch_size
        self.console = console or Console(soft_wrap=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),  # all fits into 80 columns
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} images/s"),
            TimeRemainingColumn(),
            console=self.console,
            # In a notebook, it would need ipywidgets.
            disable=self.console.is_jupyter or not self.console.is_terminal,
        )

    def on_train_begin(self, logs=None):
        self.step = completed_steps(self.model)
        self.rate = 0.0
        self.task = self.bar.add_task(
            "Training", total=self.steps, completed=self.step, rate=self.rate
        )
        self.first = None

    def expect(self, steps: int) -> None:
        """Tells how many steps the run will have, if that was not known."""
        self.steps = steps
        self.bar.update(self.task, total=steps)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_first = self.step, time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.first is None:
            # The first step builds the graph and says nothing of the others.
            self.first = self.epoch_first = self.step, time.perf_counter()
        else:
            seconds = self._seconds_per_step(self.epoch_first)
            self.rate = self.batch_size(self.step - 1) / seconds
        self.bar.update(self.task, completed=self.step, rate=self.rate)

    def on_epoch_end(self, epoch, logs=None):
        logs["step"] = self.step
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["images_per_second"] = self.rate
        values = "  ".join(
            f"{key} {logs[key]:.4g}"
            for key in ("loss", "psnr", "val_psnr", "val_ssim")
            if math.isfinite(logs.get(key, math.nan))
        )
        left = 0.0
        if self.step < self.steps and self.step > self.first[0]:
            left = (self.steps - self.step) * self._seconds_per_step(self.first)
        self.console.print(
            f"step {self.step}/{self.steps}  {values}  {self.rate:.1f} "
            f"images/s  {datetime.timedelta(seconds=round(left))} left",
            highlight=False,
        )

    def _seconds_per_step(self, first):
        step, start = first
        return (time.perf_counter() - start) / max(1, self.step - step)
