"""The batches of a training, and who draws them."""

import bisect
from collections.abc import Iterator, Sequence

import numpy as np

from keras_radn.datasets import PatchSource
from keras_radn.datasets.draws import Draws
from keras_radn.datasets.workers import PatchWorkers
from keras_radn.training.config import TrainingConfig
from keras_radn.training.sources import blur_strength, source_shares

# After which the statistics of batch norms stand.
STATISTICS_BATCHES = 60


def draws_of(
    stage: TrainingConfig, sources: Sequence[PatchSource], seed: int
) -> Draws:
    """The patches of a part of a run.

    Args:
        stage: configuration of the part.
        sources: the `training_sources` of the run.
        seed: of the patches.
    """
    strength = blur_strength(stage)
    return Draws(
        [source.with_strength(strength) for source in sources],
        source_shares(stage),
        stage.patch_size,
        stage.batch_size,
        seed,
        stage.balance,
        stage.repeats,
    )


def parts_after(
    config: TrainingConfig, done: int
) -> list[tuple[int, int, int]]:
    """What is left of a run after some steps.

    One stream, not one `fit` for each size: at its end the averaged weights
    would take the place of the current ones.

    Args:
        config: of the run.
        done: the steps.

    Returns:
        For each part of the run that is not over its number, its next step
        and the one after its last.
    """
    return [
        (number, max(first, done), end)
        for number, (first, end, _) in enumerate(config.stages())
        if done < end
    ]


class ProcessBatches:
    """A context manager of batches that are drawn by processes.

    Args:
        config: of the run.
        sources: what the patches come from.
    """

    def __init__(self, config: TrainingConfig, sources: Sequence[PatchSource]):
        self.config = config
        stages = [stage for *_, stage in config.stages()]
        # Behind the streams of the parts are those for the statistics.
        self._statistics = len(stages)
        self._workers = PatchWorkers(
            [
                draws_of(stage, sources, config.seed + seed)
                for seed in range(2)
                for stage in stages
            ]
        )

    def __enter__(self) -> "ProcessBatches":
        return self

    def __exit__(self, *exception):
        self._workers.__exit__(*exception)

    def training(self, done: int) -> Iterator[tuple[np.ndarray, ...]]:
        """What `fit` is given after some steps.

        Args:
            done: the steps.
        """
        return self._workers.batches(parts_after(self.config, done))

    def statistics(self, step: int) -> Iterator[np.ndarray]:
        """Blurred patches to measure batch norms with.

        Args:
            step: of the run, whose patches they are like.
        """
        firsts = [first for first, *_ in self.config.stages()]
        stream = self._statistics + bisect.bisect(firsts, step) - 1
        batches = self._workers.batches([(stream, 0, STATISTICS_BATCHES)])
        return (blurred for blurred, *_ in batches)
