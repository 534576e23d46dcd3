"""Training, evaluation and ablations."""

from keras_radn.keras_setup import import_keras

import_keras()

from keras_radn.training.ablation import ablate, compare
from keras_radn.training.baselines import CLASSICAL
from keras_radn.training.config import TrainingConfig
from keras_radn.training.distribution import make_strategy
from keras_radn.training.evaluate import evaluate_pairs, mean_row, scores
from keras_radn.training.run import train
from keras_radn.training.workers import train_in_processes

__all__ = [
    "CLASSICAL",
    "TrainingConfig",
    "ablate",
    "compare",
    "evaluate_pairs",
    "make_strategy",
    "mean_row",
    "scores",
    "train",
    "train_in_processes",
]
