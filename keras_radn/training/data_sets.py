"""The batches of a training as TensorFlow draws them."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_radn.datasets import PatchSource
from keras_radn.datasets.tensors import dataset_of
from keras_radn.training.batches import (
    STATISTICS_BATCHES,
    draws_of,
    parts_after,
)
from keras_radn.training.config import TrainingConfig
from keras_radn.training.team import Team


class DataSetBatches:
    """A context manager of `tf.data` batches, in parts for replicas.

    Args:
        config: of the run.
        sources: what the patches come from.
        strategy: the distribution strategy.
        team: the processes that train together, or `None`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        sources: Sequence[PatchSource],
        strategy: tf.distribute.Strategy,
        team: Team | None = None,
    ):
        self.config = config
        self.sources = sources
        self.strategy = strategy
        self.team = team

    def __enter__(self) -> "DataSetBatches":
        return self

    def __exit__(self, *exception):
        pass

    def training(self, done: int) -> Any:
        """What `fit` is given after some steps.

        Args:
            done: the steps.
        """
        stream = functools.partial(self._stream, done)
        if self.team is None:
            return self.strategy.distribute_datasets_from_function(stream)
        index, count = self.team.index, self.team.count
        return stream(tf.distribute.InputContext(count, index, count))

    def statistics(self, step: int) -> Iterator[tf.Tensor]:
        """Blurred patches to measure batch norms with.

        Args:
            step: of the run, whose patches they are like.
        """
        draws = draws_of(
            self.config.at(step), self.sources, self.config.seed + 1
        )
        batches = dataset_of(draws).take(STATISTICS_BATCHES)
        return (blurred for blurred, *_ in batches)

    def _stream(self, done, context):
        parts = context.num_replicas_in_sync // context.num_input_pipelines
        stages = self.config.stages()
        streams = []
        for number, first, end in parts_after(self.config, done):
            *_, stage = stages[number]
            draws = draws_of(stage, self.sources, stage.seed)
            stream = dataset_of(draws, first, context)
            streams.append(stream.take((end - first) * parts))
        return functools.reduce(tf.data.Dataset.concatenate, streams)
