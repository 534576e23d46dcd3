from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_radn.visualize.curves import Figure

# Title and fill of the panels, by whether time and PSNR are measured.
_PANELS = {
    (True, True): ("measured here", "full"),
    (True, False): ("time measured here, PSNR reported", "left"),
    (False, False): ("reported", "none"),
}


class Point(NamedTuple):
    """A network in `accuracy_over_time`.

    Attributes:
        name: of the network.
        seconds: for an image.
        psnr: in dB.
        measured: whether the time is ours, or a reported one.
        psnr_measured: the same of the PSNR; `None`: as the time.
    """

    name: str
    seconds: float
    psnr: float
    measured: bool
    psnr_measured: bool | None = None


def accuracy_over_time(points: Sequence[Point]) -> Figure:
    """PSNR over the time for an image, as in the paper's Figure 1.

    Measured and reported figures are of other machines and images, and so each
    kind has a panel of its own; a kind without points has none.

    Args:
        points: one per network and kind.

    Returns:
        A Matplotlib figure; the panels share a logarithmic axis of times.

    Raises:
        ValueError: if there are no points.
    """
    panels = {
        panel: [p for p in points if _kind(p) == kind]
        for kind, panel in _PANELS.items()
    }
    panels = {panel: group for panel, group in panels.items() if group}
    if not panels:
        raise ValueError(
            "There is nothing to draw: no network has both a time and a PSNR."
        )
    figure = Figure(figsize=(7, 3.5 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
    for axis, ((title, fill), group) in zip(axes, panels.items(), strict=True):
        for point in group:
            axis.semilogx(
                point.seconds, point.psnr, "o", color="C0", fillstyle=fill
            )
            axis.annotate(
                point.name,
                (point.seconds, point.psnr),
                xytext=(6, 0),
                textcoords="offset points",
                fontsize="small",
                verticalalignment="center",
            )
        axis.margins(x=0.2, y=0.15)
        axis.set(title=title, ylabel="PSNR, dB")
        axis.grid(alpha=0.3)
    axes[-1].set(xlabel="seconds")
    axes[-1].xaxis.set_major_formatter("{x:g}")
    return figure


def points_of(rows: Sequence[Mapping]) -> list[Point]:
    """The points of the rows that `keras-radn compare --json` writes.

    Args:
        rows: up to three points each: measured and reported time and PSNR, and
            the measured time with the reported PSNR, since most networks have
            no weights here.
    """
    kinds = (
        ("seconds", "psnr", True, True),
        ("seconds", "paper_psnr", True, False),
        ("paper_seconds", "paper_psnr", False, False),
    )
    return [
        Point(row["name"], row[seconds], row[psnr], *measured)
        for row in rows
        for seconds, psnr, *measured in kinds
        if row.get(seconds) is not None and row.get(psnr) is not None
    ]


def _kind(point):
    """The key of the point's panel."""
    if point.psnr_measured is None:
        return point.measured, point.measured
    return point.measured, point.psnr_measured
