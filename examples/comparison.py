"""Draws what `keras-radn compare` measured, and writes it into the guide.

    python examples/comparison.py [FOLDER]

`make comparison` measures on a machine on which nothing else runs, and keeps
the figures in `benchmarks/comparison.json`. From these come the table of
`docs/guide/peers.md` and, in FOLDER, `accuracy_over_time.svg`, in colors for
light and dark pages. Needs the extra `visualize`.
"""

import json
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import matplotlib

from keras_radn.cli.tables import markdown_table
from keras_radn.peers.figures import CLASSICAL
from keras_radn.visualize.comparison import Point, accuracy_over_time, points_of

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "comparison.json"
GUIDE = ROOT / "docs" / "guide" / "peers.md"
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = {
    "name": ("network", ""),
    "gmacs": ("GMAC", ".0f"),
    "seconds": ("s", ".2f"),
    "to_reference": ("to RADN(Final)", ".2f"),
    "peak_megabytes": ("peak MB", ".0f"),
}
# What the table stands between in the guide.
PART = re.compile("(?<=<!-- make comparison -->\n).*(?=<!-- end -->)", re.S)
GRAY = "#6e7781"  # is read on white and on black
STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), GRAY),
    **dict.fromkeys(("xtick.color", "ytick.color", "grid.color"), GRAY),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "none"),
    # The same file from the same figures, with texts as texts.
    "svg.hashsalt": "keras-radn",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}


def main(folder: Path) -> None:
    """Writes the picture and the table."""
    rows = json.loads(FIGURES.read_text())
    path = folder / "accuracy_over_time.svg"
    with matplotlib.rc_context(STYLE):
        figure = accuracy_over_time(shown(rows))
        figure.savefig(path, metadata={"Date": None})
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n")
    GUIDE.write_text(PART.sub(lambda _: measured(rows), GUIDE.read_text()))


def shown(rows: list[dict]) -> list[Point]:
    """The points of the networks; the classical methods take minutes."""
    return points_of([row for row in rows if row["name"] not in CLASSICAL])


def measured(rows: list[dict]) -> str:
    """The guide's part about what was measured."""
    timed = [row for row in rows if row.get("seconds")]
    if not timed:
        return "\nNothing has been measured on a quiet machine yet.\n\n"
    stack = {row["name"]: row for row in timed}["stack4_dmphn"]
    return (
        f"\nStack(4)-DMPHN takes {stack['to_reference']:.1f} times the time "
        f"of RADN(Final) for an\nimage of {stack['width']}x{stack['height']} "
        f"in {stack['dtype']}:\n\n{markdown_table(timed, COLUMNS)}\n\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
