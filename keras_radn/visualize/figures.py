"""Drawings of the arrays of an `Inspection`, and of offset magnitudes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_radn.visualize.curves import Figure

# Perceptually uniform; the signed one is light in its middle, which is 0.
_SIGNED_MAP = "RdBu_r"
_MAGNITUDE_MAP = "viridis"
_ATTENTION_MAP = "inferno"

# Colors by Okabe and Ito, which the color-blind can tell apart.
_ORANGE, _BLUE = "#E69F00", "#56B4E9"

# Values beyond are drawn as these, so that a few do not dim the rest.
_PERCENTILES = (0.5, 99.5)

# A fraction of the largest value; with less, noise would look like structure.
_LEAST_CONTRAST = 0.05

# Sides of a panel in inches; narrower ones have no room for their titles.
_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH = 3.4, 3.3, 6.8


def map_figure(
    image: np.ndarray,
    offset_difference: np.ndarray | None = None,
    attention_residual: np.ndarray | None = None,
) -> Figure:
    """A photograph beside its maps, as the columns of Figure 7.

    Args:
        image: `(height, width, 3)` in [0, 1].
        offset_difference: `(height, width)` of
            `Inspection.offset_difference`; `None` leaves it out.
        attention_residual: `(height, width)` of
            `Inspection.attention_residual`; `None` leaves it out.

    Returns:
        A Matplotlib figure.

    Example:

    ```python
    from keras_radn import visualize

    inspection = visualize.Inspection(keras_radn.RADN(pretrained=True), image)
    figure = visualize.map_figure(image, inspection.offset_difference())
    figure.savefig("maps.png")
    ```
    """
    maps = []
    if offset_difference is not None:
        maps.append(
            (
                "Horizontal spread of the kernels",
                "x-offset of last minus first column, pixels",
                offset_difference,
                difference_style(offset_difference),
            )
        )
    if attention_residual is not None:
        maps.append(
            (
                "Residual of the self-attention",
                "mean magnitude of the features",
                attention_residual,
                residual_style(attention_residual),
            )
        )
    figure, axes = _panels(image, 1 + len(maps))
    _show(axes[0], image, "Input")
    width = figure.get_figwidth() / len(axes)
    for axis, (title, label, values, style) in zip(axes[1:], maps, strict=True):
        drawn = _show(axis, values, title, **style)
        _color_bar(figure, drawn, axis, label, width)
    return figure


def difference_style(values: np.ndarray) -> dict[str, Any]:
    """`imshow` arguments for an `Inspection.offset_difference`."""
    limit = np.percentile(np.abs(values), _PERCENTILES[1])
    limit = max(float(limit), 1e-6)
    return {"cmap": _SIGNED_MAP, "vmin": -limit, "vmax": limit}


def residual_style(values: np.ndarray) -> dict[str, Any]:
    """`imshow` arguments for an `Inspection.attention_residual`."""
    low, high = _limits(values)
    return {"cmap": _MAGNITUDE_MAP, "vmin": low, "vmax": high}


def attention_figure(
    image: np.ndarray,
    points: Sequence[tuple[float, float]],
    attention: Sequence[np.ndarray],
) -> Figure:
    """A photograph with points, and where each of them attends to.

    Args:
        image: `(height, width, 3)` in [0, 1].
        points: `(x, y)` in pixels.
        attention: for each point `(height, width)` of `Inspection.attention`.

    Returns:
        A Matplotlib figure, logarithmic in the attention.

    Raises:
        ValueError: if there are no points, or not a map for each.

    Example:

    ```python
    from keras_radn import visualize

    inspection = visualize.Inspection(keras_radn.RADN(pretrained=True), image)
    points = [(20, 30)]
    attention = [inspection.attention(point) for point in points]
    figure = visualize.attention_figure(image, points, attention)
    ```
    """
    from matplotlib.colors import LogNorm

    _require(points, "points")
    figure, axes = _panels(image, 1 + len(points))
    _show(axes[0], image, "Input")
    high = max(10.0, *(float(values.max()) for values in attention))
    norm = LogNorm(high / 1e4, high, clip=True)
    for number, (point, values) in enumerate(
        zip(points, attention, strict=True), start=1
    ):
        title = f"Attention of point {number}"
        axis = axes[number]
        # The photograph shines through where the map is dark.
        axis.imshow(0.6 * image)
        share = np.asarray(norm(values)).clip(0, 1)  # rounding can exceed 1
        opacity = 0.6 + 0.4 * share
        drawn = _show(
            axis, values, title, cmap=_ATTENTION_MAP, norm=norm, alpha=opacity
        )
        for marked in (axes[0], axis):
            _mark(marked, point, number)
    used = list(axes[: 1 + len(points)])
    label, width = "times that of equal attention", figure.get_figwidth()
    _color_bar(figure, drawn, used, label, width, "min")
    return figure


def sampling_figure(
    image: np.ndarray,
    points: Sequence[tuple[float, float]],
    regular: np.ndarray,
    moved: np.ndarray,
) -> Figure:
    """A photograph with points, and an enlarged piece around each of them.

    An arrow goes from each sampling point of an ordinary convolution to where
    the offsets of a unit move it.

    Args:
        image: `(height, width, 3)` in [0, 1].
        points: `(x, y)` in pixels.
        regular: `(points, taps, 2)` of `Inspection.sampling_points`.
        moved: `(points, units, taps, 2)` of the same.

    Returns:
        A Matplotlib figure.

    Example:

    ```python
    from keras_radn import visualize

    inspection = visualize.Inspection(keras_radn.RADN(pretrained=True), image)
    points = [(20, 30)]
    figure = visualize.sampling_figure(
        image, points, *inspection.sampling_points(points)
    )
    ```
    """
    figure, axes = _panels(image, 1 + len(points))
    _show(axes[0], image, "Input")
    for number, (point, origins, ends) in enumerate(
        zip(points, regular, moved, strict=True), start=1
    ):
        _mark(axes[0], point, number)
        axis = axes[number]
        _show(axis, image, f"Sampling around point {number}")
        _zoom(axis, origins, ends, image.shape)
        starts = np.broadcast_to(origins, ends.shape).reshape(-1, 2)
        arrows = ends.reshape(-1, 2) - starts
        axis.quiver(
            *starts.T,
            *arrows.T,
            angles="xy",
            scale_units="xy",
            scale=1,
            units="inches",
            width=0.016,
            headwidth=5,
            headlength=5,
            color=_ORANGE,
            edgecolor="black",
            linewidth=0.4,
        )
        axis.scatter(*origins.T, s=12, color=_BLUE, edgecolor="black", zorder=3)
    return figure


def magnitude_figure(
    images: Sequence[np.ndarray],
    magnitudes: Sequence[float],
    names: Sequence[str],
) -> Figure:
    """Photographs with their mean offset magnitudes below, as Figure 8.

    Args:
        images: `(height, width, 3)` each, in the order to show.
        magnitudes: pixels, for each image.
        names: for each image.

    Returns:
        A Matplotlib figure.

    Raises:
        ValueError: if there are no images, or not a magnitude and a name for
            each.

    Example:

    ```python
    from keras_radn import visualize

    figure = visualize.magnitude_figure([image], [1.5], ["photograph"])
    ```
    """
    _require(images, "images")
    columns = min(4, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(3.4 * columns, 3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(images) :]:
        axis.set_axis_off()
    for axis, image, magnitude, name in zip(
        axes[: len(images)], images, magnitudes, names, strict=True
    ):
        _show(axis, image, "")
        axis.set_anchor("S")  # so that the values are in a row
        axis.set_xlabel(f"{magnitude:.2f} pixels\n{_shortened(name)}")
    return figure


def blur_strength_figure(
    lengths: Sequence[float], magnitudes: Mapping[str, Sequence[float]]
) -> Figure:
    """Mean offset magnitudes over the strength of made-up blur.

    Args:
        lengths: of the motion, in pixels.
        magnitudes: name of a photograph to pixels, for each length.

    Returns:
        A Matplotlib figure: a line for each photograph and their mean.

    Raises:
        ValueError: if there are no photographs.

    Example:

    ```python
    from keras_radn import visualize

    figure = visualize.blur_strength_figure([0, 8], {"photograph": [1.5, 2.2]})
    ```
    """
    _require(magnitudes, "magnitudes")
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    table = np.array(list(magnitudes.values()))
    for row in table:
        axis.plot(lengths, row, "-", color="0.75", linewidth=1)
    axis.plot(lengths, table.mean(axis=0), "o-", color="#0072B2", linewidth=2)
    axis.set(
        ylim=(0, None),
        xlabel="length of the motion, pixels",
        ylabel="mean offset magnitude, pixels",
    )
    if len(table) > 1:
        axis.set_title("Mean (blue) and each photograph", fontsize=11)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _require(values, name):
    if not len(values):
        raise ValueError(
            f"There is nothing to draw: pass at least one of `{name}`. "
            f"Received: {values!r}"
        )


def _panels(image, count):
    """A figure with `count` panels of the shape of an image."""
    ratio = image.shape[1] / image.shape[0]
    width = float(np.clip(_HEIGHT * ratio, _LEAST_WIDTH, _MOST_WIDTH))
    height = min(width / ratio, 2 * _HEIGHT)
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure(
        # With room for a title, and for a color bar.
        figsize=(columns * width, rows * (height + 0.4) + 0.6),
        layout="constrained",
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[:count]:
        axis.set_anchor("N")  # level with those above a color bar
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes


def _show(axis, values, title, **style):
    if values.ndim == 2:
        style = {"interpolation": "nearest", **style}
    axis.set(xticks=[], yticks=[], facecolor="0.85")
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=11)
    return axis.imshow(values, **style)


def _color_bar(figure, drawn, axes, label, width, extend=None):
    norm, values = drawn.norm, drawn.get_array()
    if extend is None:
        below, above = values.min() < norm.vmin, values.max() > norm.vmax
        extend = {
            (False, False): "neither",
            (True, False): "min",
            (False, True): "max",
            (True, True): "both",
        }[bool(below), bool(above)]
    bar = figure.colorbar(
        drawn,
        ax=axes,
        orientation="horizontal",
        extend=extend,
        aspect=8 * width,
        shrink=0.8,
        pad=0.03,
        panchor=False,
        format="%g",
    )
    bar.set_label(label, fontsize=10)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)


def _limits(values):
    low, high = np.percentile(values, _PERCENTILES)
    least = max(_LEAST_CONTRAST * abs(high), 1e-6)
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    return float(low), float(high)


def _mark(axis, point, number):
    axis.plot(*point, "o", ms=11, mfc="white", mec="black", mew=1)
    axis.text(
        *point, str(number), ha="center", va="center_baseline", fontsize=8
    )


def _zoom(axis, origins, ends, shape):
    """Shows what is around all arrows, in the shape of the image's panel."""
    reached = np.concatenate([origins, ends.reshape(-1, 2)])
    middle = origins.mean(axis=0)
    half = 1.15 * max(np.abs(reached - middle).max(), 8)
    wide, high = np.array([shape[1], shape[0]]) / min(shape[:2])
    axis.set_xlim(middle[0] - wide * half, middle[0] + wide * half)
    axis.set_ylim(middle[1] + high * half, middle[1] - high * half)


def _shortened(name, most=40):
    return name if len(name) <= most else f"…{name[1 - most :]}"
