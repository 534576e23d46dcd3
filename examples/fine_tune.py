"""Measures what a short training on pictures of one kind gains.

    python examples/fine_tune.py FOLDER [--steps N]

Photographs of scikit-image stand for those of a camera that always moves
sideways by 12 pixels. The packaged network is trained by `fine_tune.toml` on
twenty pairs cut from three of them, and evaluated before and after on two other
photographs. FOLDER gets `train/`, `held_out/` and
`run/`. Needs the extra `train`.
"""

import argparse
import os
from importlib import resources
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
from front_page import light, values
from PIL import Image
from skimage import data

import keras_radn  # noqa: F401  its layers are in the trained model
from keras_radn.datasets import motion_blur
from keras_radn.training import TrainingConfig, evaluate_pairs, train

PIXELS = 12
SIDE = 192


def main() -> None:
    """Trains, evaluates and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    train_on, held_out = options.folder / "train", options.folder / "held_out"
    motorcycle = data.stereo_motorcycle()[0]
    for name, photo in (
        ("coffee", data.coffee()),
        ("rocket", data.rocket()),
        ("motorcycle", motorcycle),
    ):
        for i, crop in enumerate(crops(photo, 7 if name != "rocket" else 6)):
            write_pair(train_on, f"{name}_{i}", crop)
    for name, photo in (
        ("astronaut", data.astronaut()),
        ("chelsea", data.chelsea()),
    ):
        write_pair(held_out, name, photo)
    recipe = resources.files("keras_radn.training") / "configs/fine_tune.toml"
    config = TrainingConfig.from_toml(
        recipe, pairs=str(train_on), steps=options.steps
    )
    run = options.folder / "run"
    train(config, run)
    trained = keras.models.load_model(run / "model.keras")
    for label, model in (("packaged", None), ("trained on", trained)):
        for row in evaluate_pairs(held_out, model):
            gain = row["deblurred_psnr"] - row["blurred_psnr"]
            print(f"{label:>10}, {row['name']}: {gain:+.2f} dB")


def crops(photo: np.ndarray, count: int) -> list[np.ndarray]:
    """Cuts squares at random places."""
    random = np.random.default_rng(0)
    height, width = photo.shape[:2]
    corners = zip(
        random.integers(height - SIDE, size=count),
        random.integers(width - SIDE, size=count),
        strict=True,
    )
    return [photo[y : y + SIDE, x : x + SIDE] for y, x in corners]


def write_pair(folder: Path, name: str, photo: np.ndarray) -> None:
    """Writes a photograph, and the same moved sideways during the exposure."""
    blurred = motion_blur(light(photo), length=PIXELS, angle=0)
    pictures = {"sharp": photo, "blur": values(blurred)}
    for kind, picture in pictures.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / kind / f"{name}.png")


if __name__ == "__main__":
    main()
