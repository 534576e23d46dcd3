"""Draws the log of the training of the packaged weights.

    python examples/training_curves.py

Writes `docs/pictures/training.png` from `training_log.csv`, the `log.csv` of
the run that the model card describes. Needs the extra `visualize`.
"""

from pathlib import Path

from keras_radn.visualize import training_curves

FOLDER = Path(__file__).parent
TARGET = FOLDER.parent / "docs" / "pictures" / "training.png"


if __name__ == "__main__":
    figure = training_curves({"lite_v6": FOLDER / "training_log.csv"})
    figure.savefig(TARGET, dpi=120)
