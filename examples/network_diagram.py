"""Draws RADN from the layers of a model, as an SVG for light and dark pages.

    python examples/network_diagram.py [FILE]

Columns are in the order of computation, rows the resolutions; a curve is a skip
connection.
"""

import math
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from keras_radn import RADN

DEFAULT = Path(__file__).parents[1] / "docs" / "pictures" / "network.svg"
SIDE = 256
# What is drawn, by the classes of layers and the names of those of Keras.
KINDS = {
    "InputLayer": ("image", "image"),
    "SpaceToDepth": ("plain", "space to depth"),
    "DenseBlock": ("dense", "dense block"),
    "Transition": ("plain", "transition"),
    "SelfAttention": ("attention", "self-attention"),
    "DenseDeformableModule": ("deformable", "deformable module"),
    "Conv2DTranspose": ("plain", "deconvolution"),
    "ContextAggregation": ("plain", "context"),
    "stem_conv": ("plain", "stem"),
    "reconstruction": ("plain", "convolution"),
    "deblurred": ("image", "sum"),
}
WIDTH, HEIGHT, STEP, ROW, MARGIN, TOP = 42, 112, 62, 164, 12, 46
STYLE = """
  text { font: 11px system-ui, sans-serif; fill: #24292f; }
  .size { font-size: 10px; fill: #57606a; }
  .line { fill: none; stroke: #57606a; stroke-width: 1.3; }
  .tip { fill: #57606a; }
  rect { stroke: #57606a; stroke-width: 1; }
  .image { fill: #ffffff; } .plain { fill: #eaeef2; } .dense { fill: #b6e3ff; }
  .attention { fill: #ffd8b5; } .deformable { fill: #aceebb; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .size { fill: #9da7b3; }
    .line, rect { stroke: #9da7b3; } .tip { fill: #9da7b3; }
    .image { fill: #0d1117; } .plain { fill: #30363d; }
    .dense { fill: #0c4a7a; }
    .attention { fill: #7a3e0c; } .deformable { fill: #0f5a26; }
  }
"""


def main(path: Path) -> None:
    """Writes the picture."""
    keras.utils.set_random_seed(0)
    model = RADN(image_shape=(SIDE, SIDE, 3))
    shown = [layer for layer in model.layers if kind_of(layer)]
    places = {layer.name: place(i, layer) for i, layer in enumerate(shown)}
    width = 2 * MARGIN + STEP * (len(shown) - 1) + WIDTH
    height = TOP + ROW * 3 + HEIGHT + MARGIN
    svg = ElementTree.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        role="img",
    )
    ElementTree.SubElement(svg, "title").text = "The layers of RADN(Final)"
    ElementTree.SubElement(svg, "style").text = STYLE
    tip = ElementTree.SubElement(
        ElementTree.SubElement(svg, "defs"),
        "marker",
        id="tip",
        viewBox="0 0 6 6",
        refX="5.5",
        refY="3",
        markerWidth="6",
        markerHeight="6",
        orient="auto",
    )
    ElementTree.SubElement(tip, "path", d="M0,0 L6,3 L0,6 z").set(
        "class", "tip"
    )
    order = [layer.name for layer in shown]
    for layer in shown:
        for source in sources(model, layer):
            skips = order.index(layer.name) - order.index(source) > 1
            line = ElementTree.SubElement(
                svg, "path", d=curve(places[source], places[layer.name], skips)
            )
            line.set("class", "line")
            line.set("marker-end", "url(#tip)")
    for layer in shown:
        draw_box(svg, layer, *places[layer.name])
    ElementTree.indent(svg)
    ElementTree.ElementTree(svg).write(path, encoding="unicode")
    path.write_text(path.read_text() + "\n")


def kind_of(layer: keras.Layer) -> tuple[str, str] | None:
    """Returns style and words of a layer, or `None` if it is not drawn."""
    return KINDS.get(type(layer).__name__) or KINDS.get(layer.name)


def place(column: int, layer: keras.Layer) -> tuple[int, int]:
    """Returns the upper left corner of a layer's box."""
    level = round(math.log2(SIDE / layer.output.shape[1]))
    return MARGIN + STEP * column, TOP + ROW * level


def sources(model: keras.Model, layer: keras.Layer) -> list[str]:
    """Returns the drawn layers whose outputs reach a layer."""
    found = []
    if isinstance(layer, keras.layers.InputLayer):
        return found
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    for tensor in inputs:
        before = tensor._keras_history.operation
        if kind_of(before):
            found.append(before.name)
        elif before.name != "crop":
            found += sources(model, before)
        else:  # the image only tells it the size
            found.append("reconstruction")
    return list(dict.fromkeys(found))


def curve(source: tuple[int, int], target: tuple[int, int], skips: bool) -> str:
    """Returns a path between two boxes, above those that it skips."""
    (x1, y1), (x2, y2) = source, target
    if not skips:
        return (
            f"M{x1 + WIDTH},{y1 + HEIGHT // 2} "
            f"C{x1 + WIDTH + 14},{y1 + HEIGHT // 2} "
            f"{x2 - 14},{y2 + HEIGHT // 2} {x2 - 1},{y2 + HEIGHT // 2}"
        )
    left, right = x1 + WIDTH // 2, x2 + WIDTH // 2
    high, end = y1 - 24, y2 - 1
    if y2 < y1:  # a box of a higher row is reached from below
        high, end = y1 - 40, y2 + HEIGHT + 1
    return (
        f"M{left},{y1} C{left},{high} {left + 20},{high} {left + 40},{high} "
        f"L{right - 40},{high} "
        f"C{right - 20},{high} {right},{high} {right},{end}"
    )


def draw_box(
    svg: ElementTree.Element, layer: keras.Layer, left: int, top: int
) -> None:
    """Draws a layer's box with its name and the shape of its output."""
    style, words = kind_of(layer)
    box = ElementTree.SubElement(
        svg,
        "rect",
        x=str(left),
        y=str(top),
        width=str(WIDTH),
        height=str(HEIGHT),
        rx="4",
    )
    box.set("class", style)
    side, channels = layer.output.shape[2:]
    middle = left + WIDTH // 2
    for x, text, size in (
        (middle - 4, words, False),
        (middle + 12, f"{side}\u00b2 \u00d7 {channels}", True),
    ):
        label = ElementTree.SubElement(
            svg,
            "text",
            x=str(x),
            y=str(top + HEIGHT // 2),
            transform=f"rotate(-90 {x} {top + HEIGHT // 2})",
        )
        label.set("text-anchor", "middle")
        if size:
            label.set("class", "size")
        label.text = text


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
