import itertools
from collections.abc import Sequence
from typing import Any

from keras_radn.visualize.curves import Figure


def scaling(measurements: Sequence[Any]) -> Figure:
    """Time over the pixels of an image, beside straight proportion.

    Args:
        measurements: objects with `preset`, `dtype`, `width`, `height`,
            `tiles` and `seconds`, as
            `keras_radn.inference.benchmark.Measurement`.

    Returns:
        A Matplotlib figure; both axes are logarithmic. Images that were done
        in tiles have empty markers.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    groups = itertools.groupby(
        sorted(measurements, key=lambda m: (m.preset, m.dtype)),
        key=lambda m: (m.preset, m.dtype),
    )
    for i, (label, group) in enumerate(groups):
        group = sorted(group, key=lambda m: m.width * m.height)
        megapixels = [m.width * m.height / 1e6 for m in group]
        seconds = [m.seconds for m in group]
        axis.loglog(megapixels, seconds, color=f"C{i}", label=" ".join(label))
        for x, y, m in zip(megapixels, seconds, group, strict=True):
            fill = "none" if m.tiles > 1 else "full"
            axis.plot(x, y, "o", color=f"C{i}", fillstyle=fill)
        # Through the middle, so that a bend shows on both sides.
        middle = len(group) // 2
        slope = seconds[middle] / megapixels[middle]
        axis.plot(megapixels, [slope * x for x in megapixels], ":", color="0.5")
    axis.set(xlabel="megapixels", ylabel="seconds")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    return figure
