"""Training and evaluation."""

from keras_radn.training.config import TrainingConfig
from keras_radn.training.evaluate import evaluate_pairs, mean_row
from keras_radn.training.train import train

__all__ = ["TrainingConfig", "evaluate_pairs", "mean_row", "train"]
