from collections.abc import Sequence
from typing import NamedTuple

from keras_radn.visualize.curves import Figure


class Point(NamedTuple):
    """A network in `accuracy_over_time`.

    Attributes:
        name: of the network.
        seconds: for an image.
        psnr: in dB.
        measured: whether the figures are ours, or reported ones.
    """

    name: str
    seconds: float
    psnr: float
    measured: bool


def accuracy_over_time(points: Sequence[Point]) -> Figure:
    """PSNR over the time for an image, as in the paper's Figure 1.

    Measured and reported figures are of other machines and images, and so each
    kind has a panel of its own; a kind without points has none.

    Args:
        points: one per network and kind.

    Returns:
        A Matplotlib figure; times are on a logarithmic axis.

    Raises:
        ValueError: if there are no points.
    """
    titles = {True: "measured here", False: "reported"}
    panels = {
        title: [p for p in points if p.measured == kind]
        for kind, title in titles.items()
    }
    panels = {title: group for title, group in panels.items() if group}
    if not panels:
        raise ValueError(
            "There is nothing to draw: no network has both a time and a PSNR."
        )
    figure = Figure(figsize=(6 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, group) in zip(axes, panels.items(), strict=True):
        fill = "full" if group[0].measured else "none"
        for point in group:
            axis.semilogx(point.seconds, point.psnr, "o", fillstyle=fill)
            axis.annotate(
                point.name,
                (point.seconds, point.psnr),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize="small",
            )
        axis.margins(x=0.2, y=0.1)
        axis.set(title=title, xlabel="seconds", ylabel="PSNR, dB")
        axis.grid(alpha=0.3)
    return figure
