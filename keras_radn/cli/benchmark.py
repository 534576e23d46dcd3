import argparse
import dataclasses
import json
from pathlib import Path

from keras_radn.cli.numbers import Number, add_numbers, check_numbers
from keras_radn.cli.tables import markdown_table
from keras_radn.files import written_beside
from keras_radn.inference.benchmark import Measurement, measure
from keras_radn.models import RADN, ResidualBaseline
from keras_radn.models.inference_form import DTYPES

_COLUMNS = {
    "preset": ("variant", ""),
    "size": ("size", ""),
    "dtype": ("dtype", ""),
    "parameters": ("parameters", ",d"),
    "gmacs": ("GMAC", ".1f"),
    "tiles": ("tiles", "d"),
    "seconds": ("s", ".2f"),
    "ratio": ("ratio", ".1f"),
    "overhead": ("to own convolutions", ""),
    "peak_megabytes": ("peak MB", ""),
}

_NUMBERS = (
    Number("repetitions", int, 7, 1, 10_000, "of which the median is taken"),
)

# From 256x256 to 4K, about twice as many pixels each.
_SCALING = (
    "256x256",
    "384x352",
    "640x448",
    "896x640",
    "1280x720",
    "1920x1080",
    "2560x1440",
    "3840x2160",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn benchmark`."""
    parser = commands.add_parser(
        "benchmark",
        help="measure time and memory of the networks on this machine",
        description="Prints a table: median time on a random image, its ratio "
        "to a 3x3 convolution of 128 to 128 channels at 640x360 in the same "
        "run and dtype, and the peak of memory above the loaded network. Each "
        "row is measured in a process of its own. Let nothing else run.",
    )
    parser.add_argument(
        "--preset",
        nargs="+",
        default=["radn_final"],
        choices=(*RADN.presets, *ResidualBaseline.presets),
        metavar="NAME",
        help="variants; keras-radn models lists them (default: radn_final)",
    )
    parser.add_argument(
        "--size",
        nargs="+",
        type=_size,
        default=[(1280, 720)],
        metavar="WxH",
        help="sizes of the image (default: 1280x720); beyond 2 megapixels it "
        "is done in tiles",
    )
    parser.add_argument(
        "--scaling",
        dest="size",
        action="store_const",
        const=[_size(size) for size in _SCALING],
        help="sizes from 256x256 to 3840x2160",
    )
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        default=list(DTYPES),
        help="default: both",
    )
    add_numbers(parser, _NUMBERS)
    parser.add_argument(
        "--convolutions",
        action="store_true",
        help="measure the network's own convolutions alone, too",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write JSON, too"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=Path,
        help="draw the time over the pixels (needs keras-radn[visualize])",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn benchmark`; see `main` for the exit status."""
    check_numbers(options, _NUMBERS)
    if options.plot is not None:
        # Here, not above: the other commands do not need the extra.
        from keras_radn.visualize.scaling import scaling
    for path in (options.json, options.plot):
        if path is not None and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no such folder.")
    measurements = [
        measure(
            preset,
            *size,
            dtype,
            repetitions=options.repetitions,
            convolutions=options.convolutions,
        )
        for preset in options.preset
        for size in options.size
        for dtype in options.dtype
    ]
    rows = [_row(measurement) for measurement in measurements]
    columns = dict(_COLUMNS)
    if not options.convolutions:
        del columns["overhead"]
    print(markdown_table(rows, columns))
    if options.json is not None:
        with written_beside(options.json) as partial:
            values = [dataclasses.asdict(m) for m in measurements]
            partial.write_text(json.dumps(values, indent=2) + "\n")
    if options.plot is not None:
        with written_beside(options.plot) as partial:
            scaling(measurements).savefig(partial)
    return 0


def _row(measurement: Measurement):
    def shown(value, form):
        return "" if value is None else f"{value:{form}}"

    return {
        **dataclasses.asdict(measurement),
        "size": f"{measurement.width}x{measurement.height}",
        "ratio": measurement.ratio,
        "overhead": shown(measurement.overhead, ".2f"),
        "peak_megabytes": shown(measurement.peak_megabytes, ".0f"),
    }


def _size(text):
    width, height = map(int, text.split("x"))
    if width < 1 or height < 1:
        raise ValueError
    return width, height


_size.__name__ = "size"  # in the error message
