import argparse
import math
from pathlib import Path

from keras_radn.cli.network_options import add_model_arguments
from keras_radn.cli.option_types import integer, number


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn visualize`."""
    parser = commands.add_parser(
        "visualize",
        help="draw what the network sees (needs keras-radn[visualize])",
        description="Draws, for each photograph, NAME.maps.png (horizontal "
        "spread of the deformable kernels and residual of the self-attention, "
        "the paper's Figure 7), NAME.attention.png (where points attend to) "
        "and NAME.sampling.png (where kernels sample the image).",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="PHOTO",
        help="image file, folder (with all its folders) or 'pattern'",
    )
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FOLDER"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--point",
        type=_point,
        action="append",
        dest="points",
        metavar="X,Y",
        help="pixel whose attention and sampling points are drawn; may be "
        "repeated (default: the middle)",
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="layer whose offsets are drawn (default: the second deformable "
        "one, decoder_block2)",
    )
    parser.add_argument(
        "--unit",
        type=integer(1),
        metavar="N",
        help="unit of the layer, from 1 (default: the mean of all for the map, "
        "all for the sampling points)",
    )
    _add_table_arguments(parser)
    parser.add_argument(
        "--max-megapixels",
        type=number(0.001, 10_000),
        metavar="N",
        help="refuse larger photographs (default: 2, or what the memory "
        "allows)",
    )
    parser.set_defaults(run=run)


def _add_table_arguments(parser):
    tables = parser.add_mutually_exclusive_group()
    tables.add_argument(
        "--table",
        action="store_true",
        help="in place of these pictures, the mean offset magnitude of each "
        "photograph (Figure 8), sorted: offset_magnitudes.csv and .png",
    )
    tables.add_argument(
        "--blur-lengths",
        type=_lengths,
        metavar="L,L,...",
        help="in place of these pictures, blur the photographs, which should "
        "be sharp, by straight motions of these lengths in pixels, for example "
        "0,2,4,8,16,32, and correlate them with the offset magnitudes: "
        "blur_strength.csv and .png (needs keras-radn[train], too)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn visualize`; see `main` for the exit status."""
    from keras_radn.cli.visualize_work import visualize_photographs

    return visualize_photographs(options)


def _point(text):
    x, y = (float(number) for number in text.split(","))
    if not (0 <= x < math.inf and 0 <= y < math.inf):
        raise ValueError
    return x, y


_point.__name__ = "point"  # in argparse's error messages


def _lengths(text):
    lengths = [float(number) for number in text.split(",")]
    if len(set(lengths)) < 2 or not all(0 <= n < math.inf for n in lengths):
        raise ValueError
    return lengths


_lengths.__name__ = "list of at least two lengths"
