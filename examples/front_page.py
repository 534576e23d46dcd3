"""Makes the pictures of the README from photographs of scikit-image.

    python examples/front_page.py [FOLDER]

`before_after.jpg` shows three kinds of synthetic motion blur and the results
of the packaged weights: a shaken camera (a cup), a moving subject (a cat
before a still background) and lights at night (a rocket). `offsets.jpg` shows
the cup with the maps of the paper's Figure 7. Needs the extras `train` and
`visualize`.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
from demo import SHAKE
from PIL import Image
from skimage import data

import keras_radn
from keras_radn import visualize
from keras_radn.datasets.blur_synthesis import blur_scene, camera_path, expose
from keras_radn.datasets.camera import to_uint8

DEFAULT = Path(__file__).parents[1] / "docs" / "pictures"
GAMMA = 2.2  # of the light that a sensor adds up
GAP = 8
# Height and width of each picture in the strip, and where they are cut.
SIZE = (288, 384)
CORNERS = {"shake": (40, 150), "subject": (0, 34), "night": (139, 140)}


def main(folder: Path) -> None:
    """Writes both pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    model = keras_radn.RADN(pretrained=True)
    blurred = {
        "shake": shaken_camera(),
        "subject": moving_subject(),
        "night": lights_at_night(),
    }
    rows = [
        [cut(picture, kind) for kind, picture in blurred.items()],
        [
            cut(keras_radn.deblur(picture, model), kind)
            for kind, picture in blurred.items()
        ],
    ]
    strip(rows).save(folder / "before_after.jpg", quality=92)
    inspection = visualize.Inspection(model, blurred["shake"])
    maps = visualize.map_figure(
        inspection.image,
        inspection.offset_difference(),
        inspection.attention_residual(),
    )
    maps.savefig(folder / "offsets.jpg", dpi=100, pil_kwargs={"quality": 90})


def shaken_camera() -> np.ndarray:
    """Blurs a cup on a table."""
    photo = np.ascontiguousarray(data.coffee())
    return blur_scene(np.random.default_rng(3), photo, None, SHAKE)[0]


def moving_subject() -> np.ndarray:
    """Blurs a cat that moves its head before a still background."""
    cat = light(data.chelsea())
    height, width = cat.shape[:2]
    opacity = np.zeros((height, width), np.float32)
    cv2.ellipse(opacity, (215, 150), (150, 135), 0, 0, 360, 1.0, -1)
    opacity = cv2.GaussianBlur(opacity, (0, 0), 12)[..., np.newaxis]
    subject = np.concatenate([cat * opacity, opacity], axis=-1)
    still = camera_path(length=0, angle=0)
    moving = camera_path(length=9, angle=0.35, bend=0.3)
    return values(expose([cat, subject], [still, moving])[0])


def lights_at_night() -> np.ndarray:
    """Blurs a rocket on its pad, held by hand for too long."""
    night = light(data.rocket())
    path = camera_path(length=11, angle=0.6, bend=0.5, rotation=0.004)
    return values(expose([night], [path])[0])


def light(picture: np.ndarray) -> np.ndarray:
    """Returns the intensities of uint8 values."""
    return (np.asarray(picture, np.float32) / 255) ** GAMMA


def values(intensities: np.ndarray) -> np.ndarray:
    """Returns the uint8 values of intensities, without noise."""
    return to_uint8(intensities, GAMMA, 0, np.random.default_rng(0))


def cut(picture: np.ndarray, kind: str) -> np.ndarray:
    """Crops the part of a picture that is shown."""
    (top, left), (height, width) = CORNERS[kind], SIZE
    return picture[top : top + height, left : left + width]


def strip(rows: list[list[np.ndarray]]) -> Image.Image:
    """Arranges pictures of one size in rows, on white."""
    height, width = SIZE
    sheet = np.full(
        (
            len(rows) * (height + GAP) - GAP,
            len(rows[0]) * (width + GAP) - GAP,
            3,
        ),
        255,
        "uint8",
    )
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + GAP), j * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    return Image.fromarray(sheet)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
