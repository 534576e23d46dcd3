"""What is computed for a picture: the deblurred one, then maps."""

from collections.abc import Callable
from typing import Any

import keras
import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_hex
from PIL import Image

from keras_radn.demo.jobs import Job
from keras_radn.inference import Deblurrer
from keras_radn.inference.tiling import affordable_pixels
from keras_radn.pictures.pixels import in_depth
from keras_radn.pictures.writing import save_pages
from keras_radn.visualize import Inspection, as_rgb
from keras_radn.visualize.figures import difference_style, residual_style

# Colors of a legend, from which the browser makes a gradient.
_LEGEND_COLORS = 9


def make_work(model: keras.Model) -> Callable[[Job], None]:
    """A function that does a job.

    It writes `before.png`, `deblurred.png` and then, as far as the network has
    what they show, `offsets.png` and `attention.png` to the job's folder.

    Args:
        model: the network.
    """
    # Maps are looked up in the Keras model; this one only deblurs, but fast,
    # and is made before the first picture comes.
    network = Deblurrer(model).network
    deblurrers = {
        (ensemble, multi_scale): Deblurrer(
            network, ensemble=ensemble, multi_scale=multi_scale
        )
        for ensemble in (False, True)
        for multi_scale in (False, True)
    }

    def work(job: Job) -> None:
        pixels = job.picture.pixels
        deblurrer = deblurrers[job.ensemble, job.multi_scale]
        tiles = len(deblurrer.grid(*pixels.shape[:2]))
        job.report_progress(0, tiles * deblurrer.runs_per_tile)
        job.state = "deblurring"
        save_pages([job.picture], job.folder / "before.png")
        sharp = job.picture.with_pixels(deblurrer(pixels, job.report_progress))
        save_pages([sharp], job.folder / "deblurred.png")
        job.state = "inspecting"
        job.report_progress(0, 1)
        for name, values, style in _maps(model, pixels):
            image, legend = draw_map(values, style)
            Image.fromarray(image).save(job.folder / f"{name}.png")
            job.maps[name] = legend

    return work


def _maps(model, pixels):
    """Name, values and style of each map, of a picture that may be reduced."""
    limit = affordable_pixels()
    try:
        inspection = Inspection(model, _reduced(as_rgb(pixels), limit))
    except ValueError:  # a network without any of it
        return
    if inspection.layers:
        values = inspection.offset_difference()
        yield "offsets", values, difference_style(values)
    if inspection.has_attention:
        values = inspection.attention_residual()
        yield "attention", values, residual_style(values)


def _reduced(image, max_pixels):
    height, width = image.shape[:2]
    factor = np.sqrt(max_pixels / (height * width))
    if factor >= 1:
        return image
    size = max(1, int(width * factor)), max(1, int(height * factor))
    # Pillow resizes no colors in floating point.
    small = Image.fromarray(in_depth(image, "uint8")).resize(
        size, Image.Resampling.BOX
    )
    return np.asarray(small)


def draw_map(
    values: np.ndarray, style: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Colors of a map.

    Args:
        values: `(height, width)`.
        style: `cmap`, `vmin` and `vmax` as of Matplotlib's `imshow`.

    Returns:
        uint8 array `(height, width, 3)`; and a legend: `low`, `high`, the
        `colors` between them, and the `width` and `height` of the map.
    """
    colormap = matplotlib.colormaps[style["cmap"]]
    norm = Normalize(style["vmin"], style["vmax"], clip=True)
    image = colormap(norm(values), bytes=True)[..., :3]
    positions = np.linspace(0, 1, _LEGEND_COLORS)
    legend = {
        "low": style["vmin"],
        "high": style["vmax"],
        "colors": [to_hex(color) for color in colormap(positions)],
        "width": values.shape[1],
        "height": values.shape[0],
    }
    return np.ascontiguousarray(image), legend
