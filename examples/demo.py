"""Blurs a photograph of scikit-image, deblurs it, and shows both.

    python examples/demo.py [FOLDER]

The astronaut is blurred by a synthetic camera shake, so that PSNR can be
measured. The clock is a real photograph with real motion blur, without a sharp
one to compare with.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

import keras_radn
from keras_radn.datasets.blur_synthesis import BlurStrength, blur_scene

# One exposure in linear light: a path of about 8 pixels, no other layer.
SHAKE = BlurStrength(
    path_shape=100,
    path_scale=0.08,
    sharp=0,
    linear_light=1,
    noise=1,
    exposure=0,
)


def main(folder: Path) -> None:
    """Writes the pictures and prints PSNR before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    astronaut = np.ascontiguousarray(data.astronaut())
    blurred, sharp = blur_scene(
        np.random.default_rng(7), astronaut, None, SHAKE
    )
    model = keras_radn.RADN(pretrained=True)
    deblurred = keras_radn.deblur(blurred, model)
    save(folder / "astronaut.png", blurred, deblurred, sharp)
    clock = data.clock()
    save(folder / "clock.png", clock, keras_radn.deblur(clock, model))
    before = peak_signal_noise_ratio(sharp, blurred)
    after = peak_signal_noise_ratio(sharp, deblurred)
    print(f"PSNR of the astronaut: {before:.2f} dB blurred, ", end="")
    print(f"{after:.2f} dB deblurred ({after - before:+.2f} dB)")
    print(
        f"blurred | deblurred | sharp: {(folder / 'astronaut.png').resolve()}"
    )
    print(f"real blur | deblurred:       {(folder / 'clock.png').resolve()}")


def save(path: Path, *pictures: np.ndarray) -> None:
    """Writes pictures of one height side by side."""
    Image.fromarray(np.concatenate(pictures, axis=1)).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo_output"))
