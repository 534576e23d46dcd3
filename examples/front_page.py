"""Makes the pictures of the README from a photograph of scikit-image.

    python examples/front_page.py [FOLDER]

The cup of coffee is blurred by a made-up camera shake: `before_after.jpg`, and
`offsets.jpg` with the maps of the paper's Figure 7. Needs Matplotlib (the extra
`visualize`).
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from demo import SHAKE
from matplotlib.figure import Figure
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

import keras_radn
from keras_radn import visualize
from keras_radn.datasets.blur_synthesis import blur_scene

DEFAULT = Path(__file__).parents[1] / "docs" / "pictures"


def main(folder: Path) -> None:
    """Writes both pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    photo = np.ascontiguousarray(data.coffee())
    blurred, sharp = blur_scene(np.random.default_rng(3), photo, None, SHAKE)
    model = keras_radn.RADN(pretrained=True)
    deblurred = keras_radn.deblur(blurred, model)
    figure = Figure(figsize=(12, 4.3), layout="constrained")
    pictures = {"Blurred": blurred, "Deblurred": deblurred}
    for axis, name in zip(figure.subplots(1, 2), pictures, strict=True):
        picture = pictures[name]
        psnr = peak_signal_noise_ratio(sharp, picture)
        axis.imshow(picture, interpolation="lanczos")
        axis.set_title(f"{name}, {psnr:.1f} dB", fontsize=12)
        axis.set_axis_off()
    inspection = visualize.Inspection(model, blurred)
    maps = visualize.map_figure(
        inspection.image,
        inspection.offset_difference(),
        inspection.attention_residual(),
    )
    for name, drawn in (("before_after", figure), ("offsets", maps)):
        drawn.savefig(
            folder / f"{name}.jpg", dpi=100, pil_kwargs={"quality": 90}
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
