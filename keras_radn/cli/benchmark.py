import argparse
import dataclasses
import json
from pathlib import Path

from keras_radn.cli.option_types import image_size, integer
from keras_radn.cli.output_files import require_folders
from keras_radn.cli.tables import markdown_table
from keras_radn.files import written_beside
from keras_radn.models.peer_presets import PEER_PRESETS
from keras_radn.models.presets import (
    DEFAULT_PRESET,
    DTYPES,
    RADN_PRESETS,
    RESIDUAL_BASELINE_PRESETS,
)

_COLUMNS = {
    "preset": ("variant", ""),
    "size": ("size", ""),
    "dtype": ("dtype", ""),
    "parameters": ("parameters", ",d"),
    "gmacs": ("GMAC", ".1f"),
    "tiles": ("tiles", "d"),
    "seconds": ("s", ".2f"),
    "ratio": ("ratio", ".1f"),
    "share": ("share", ".0%"),
    "overhead": ("to own convolutions", ""),
    "peak_megabytes": ("peak MB", ""),
}

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
        "run and dtype, the share of that one's multiply-accumulates per "
        "second, and the peak of memory above the loaded network; then the "
        "device. Each row is measured in a process of its own. Let nothing "
        "else run.",
    )
    parser.add_argument(
        "--preset",
        nargs="+",
        default=[DEFAULT_PRESET],
        choices=(*RADN_PRESETS, *RESIDUAL_BASELINE_PRESETS, *PEER_PRESETS),
        metavar="NAME",
        help="variants, of which keras-radn models lists most "
        f"(default: {DEFAULT_PRESET})",
    )
    parser.add_argument(
        "--size",
        nargs="+",
        type=image_size,
        default=[(1280, 720)],
        metavar="WxH",
        help="sizes of the image (default: 1280x720); beyond 2 megapixels it "
        "is done in tiles",
    )
    parser.add_argument(
        "--scaling",
        dest="size",
        action="store_const",
        const=[image_size(size) for size in _SCALING],
        help="sizes from 256x256 to 3840x2160",
    )
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        default=list(DTYPES),
        help="default: both",
    )
    parser.add_argument(
        "--repetitions",
        type=integer(1, 10_000),
        default=7,
        metavar="N",
        help="runs, whose median is taken (default: %(default)s)",
    )
    parser.add_argument(
        "--convolutions",
        action="store_true",
        help="measure the network's own convolutions alone, too",
    )
    _add_output_arguments(parser)
    parser.set_defaults(check=check, run=run)


def _add_output_arguments(parser):
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write JSON, too"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=Path,
        help="draw the time over the pixels (needs keras-radn[visualize])",
    )


def check(options: argparse.Namespace) -> None:
    """Raises a FileNotFoundError if there is no folder for a file."""
    require_folders(options.json, options.plot)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn benchmark`; see `main` for the exit status."""
    from keras_radn.ops import backend

    backend.require_tensorflow("The benchmark")
    from keras_radn.inference.benchmark import measure

    if options.plot is not None:
        from keras_radn.visualize.scaling import scaling
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
    print(f"\nOn {measurements[0].device}.")
    if options.json is not None:
        with written_beside(options.json) as partial:
            values = [dataclasses.asdict(m) for m in measurements]
            partial.write_text(json.dumps(values, indent=2) + "\n")
    if options.plot is not None:
        with written_beside(options.plot) as partial:
            scaling(measurements).savefig(partial)
    return 0


def _row(measurement):
    def shown(value, form):
        return "" if value is None else f"{value:{form}}"

    return {
        **dataclasses.asdict(measurement),
        "size": f"{measurement.width}x{measurement.height}",
        "ratio": measurement.ratio,
        "share": measurement.share,
        "overhead": shown(measurement.overhead, ".2f"),
        "peak_megabytes": shown(measurement.peak_megabytes, ".0f"),
    }
