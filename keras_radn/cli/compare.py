import argparse
import dataclasses
import json
from pathlib import Path

from keras_radn.cli.messages import CommandLineError, say
from keras_radn.cli.option_types import image_size, integer
from keras_radn.cli.output_files import require_folders
from keras_radn.cli.tables import markdown_table, text_table
from keras_radn.files import written_beside
from keras_radn.models.peer_presets import PEER_PRESETS
from keras_radn.models.presets import DTYPES, RADN_PRESETS

# RADN2 is RADN1 with other weights.
_RADN_ROWS = ("radn1", "radn3", "radn4", "radn_final", "lite")

# The row that all others are compared with.
_REFERENCE = "radn_final"

_COLUMNS = {
    "name": ("network", ""),
    "parameters": ("parameters", ",d"),
    "gmacs": ("GMAC", ".1f"),
    "seconds": ("s", ".2f"),
    "ratio": ("to a convolution", ".1f"),
    "to_reference": ("to RADN(Final)", ".2f"),
    "peak_megabytes": ("peak MB", ".0f"),
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "paper_psnr": ("paper: PSNR, dB", ".2f"),
    "paper_ssim": ("paper: SSIM", ".4f"),
    "paper_seconds": ("paper: s", "g"),
    "authors_psnr": ("authors: PSNR, dB", ".2f"),
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn compare`."""
    parser = commands.add_parser(
        "compare",
        help="put RADN beside the competitors of the paper's Table 1",
        description="Prints a table of RADN and the networks that the paper "
        "compares it with. Measured here: parameters, GMAC at the size, the "
        "time of an image, its ratios to a 3x3 convolution of 128 to 128 "
        "channels at 640x360 and to RADN(Final), and the peak of memory above "
        "the loaded network; given --pairs and weights, PSNR and SSIM. In "
        "columns of their own: what the paper (GoPro, 1280x720 on a GPU) and "
        "the networks' authors report. Let nothing else run.",
    )
    _add_timing_arguments(parser)
    _add_accuracy_arguments(parser)
    _add_output_arguments(parser)
    parser.set_defaults(check=check, run=run)


def _add_timing_arguments(parser):
    parser.add_argument(
        "--network",
        nargs="+",
        default=[*_RADN_ROWS, *PEER_PRESETS],
        choices=(*RADN_PRESETS, *PEER_PRESETS),
        metavar="NAME",
        help="rows of the table (default: those of RADN, and all competitors)",
    )
    parser.add_argument(
        "--size",
        type=image_size,
        default=(1280, 720),
        metavar="WxH",
        help="of the image that is timed (default: 1280x720)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="what is computed in (default: %(default)s)",
    )
    parser.add_argument(
        "--repetitions",
        type=integer(1, 10_000),
        default=1,  # enough where the slowest network takes a minute
        metavar="N",
        help="runs, whose median is taken (default: %(default)s)",
    )


def _add_accuracy_arguments(parser):
    parser.add_argument(
        "--pairs",
        metavar="FOLDER",
        help="measure PSNR and SSIM of the rows that have weights on pairs, "
        "which are given as to evaluate (needs keras-radn[train])",
    )
    parser.add_argument(
        "--blur", metavar="NAME", help="folders of blurred images of the pairs"
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        type=_named_file,
        metavar="NAME=FILE",
        help="weights of rows, as .npz or .keras files of convert or train "
        "(RADN's packaged ones are known)",
    )
    parser.add_argument(
        "--classical",
        action="store_true",
        help="measure Wiener and Richardson-Lucy deconvolution on the pairs",
    )


def _add_output_arguments(parser):
    parser.add_argument(
        "--format",
        choices=("text", "markdown"),
        default="text",
        help="of what is printed (default: text)",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write JSON, too"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=Path,
        help="draw PSNR over time, as the paper's Figure 1 "
        "(needs keras-radn[visualize])",
    )


def check(options: argparse.Namespace) -> None:
    """Refuses options that do not go together, and files that are not there.

    Raises:
        CommandLineError: for weights of no row, or without pairs.
        FileNotFoundError: if a weights file, or the folder of an output, is
            missing.
    """
    for name, path in options.weights:
        if name not in options.network:
            raise CommandLineError(
                f"--weights of {name}, which is not a row; add it to --network."
            )
        if not path.is_file():
            raise FileNotFoundError(f"There is no weights file {str(path)!r}.")
    if options.pairs is None and (options.weights or options.classical):
        raise CommandLineError("--weights and --classical go with --pairs.")
    require_folders(options.json, options.plot)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn compare`; see `main` for the exit status."""
    from keras_radn.ops import backend
    from keras_radn.peers.figures import CLASSICAL

    backend.require_tensorflow("The comparison")
    weights = dict(options.weights)
    if options.plot is not None:
        # Here, not above: the other commands do not need the extra.
        from keras_radn.visualize.comparison import (
            accuracy_over_time,
            points_of,
        )

    # First, since weights that do not fit end the command.
    accuracies = {
        name: _accuracy(name, weights.get(name), options)
        for name in options.network
        if options.pairs is not None
    }
    rows = []
    for name in options.network:
        say(f"{name} ...")
        rows.append({**_measured(name, options), **accuracies.get(name, {})})
    _relate(rows)
    if options.classical:
        rows += _classical(options)
    rows += [{"name": n, **_reported(r)} for n, r in CLASSICAL.items()]
    table = {"text": text_table, "markdown": markdown_table}[options.format]
    print(table([_shown(row) for row in rows], _titles()))
    if options.json is not None:
        with written_beside(options.json) as partial:
            partial.write_text(json.dumps(rows, indent=2) + "\n")
    if options.plot is not None:
        with written_beside(options.plot) as partial:
            accuracy_over_time(points_of(rows)).savefig(partial)
    return 0


def _named_file(text):
    name, separator, path = text.partition("=")
    if not separator or name not in (*RADN_PRESETS, *PEER_PRESETS):
        raise argparse.ArgumentTypeError(
            f"has to be NAME=FILE, with the name of a row. Received: {text}"
        )
    return name, Path(path)


def _measured(name, options):
    from keras_radn.inference.benchmark import measure
    from keras_radn.peers.figures import AUTHORS_PSNR, TABLE_1

    measurement = measure(
        name,
        *options.size,
        options.dtype,
        repetitions=options.repetitions,
        warm_ups=0,  # its memory was measured before
    )
    return {
        "name": name,
        **dataclasses.asdict(measurement),
        "ratio": measurement.ratio,
        **_reported(TABLE_1.get(name)),
        "authors_psnr": AUTHORS_PSNR.get(name),
    }


def _relate(rows):
    """Adds times relative to RADN(Final), if it is a row."""
    seconds = {row["name"]: row["seconds"] for row in rows}
    if _REFERENCE in seconds:
        for row in rows:
            row["to_reference"] = row["seconds"] / seconds[_REFERENCE]


def _accuracy(name, path, options):
    """PSNR and SSIM of a network that has weights, else nothing."""
    from keras_radn.training import evaluate_pairs

    if path is None and "weights" not in RADN_PRESETS.get(name, {}):
        return {}
    say(f"{name} on {options.pairs} ...")
    return _means(
        evaluate_pairs(options.pairs, _model(name, path), options.blur)
    )


def _model(name, path):
    """The network of a row with weights of a file, or packaged ones."""
    from keras_radn.inference.model_file import read_model
    from keras_radn.models import RADN
    from keras_radn.peers import PRESETS

    network = PRESETS.get(name, RADN)
    if path is None or path.suffix != ".keras":
        return network.from_preset(name, pretrained=path or True)
    model = read_model(path)
    row = network.from_preset(name, load_weights=False)
    if type(model) is not network or model.architecture() != row.architecture():
        raise ValueError(f"{path}: is not the network of the row {name}.")
    return model


def _means(pairs):
    from keras_radn.training import mean_row

    mean = mean_row(pairs)
    return {"psnr": mean["deblurred_psnr"], "ssim": mean["deblurred_ssim"]}


def _classical(options):
    from keras_radn.training import CLASSICAL as METHODS
    from keras_radn.training import evaluate_pairs

    rows = []
    for name, restore in METHODS.items():
        pairs = evaluate_pairs(
            options.pairs, blur=options.blur, restore=restore
        )
        rows.append({"name": name, **_means(pairs)})
    return rows


def _reported(reported):
    if reported is None:
        return {}
    return {
        "paper_psnr": reported.psnr,
        "paper_ssim": reported.ssim,
        "paper_seconds": reported.seconds,
    }


def _shown(row):
    """Texts of all columns, empty where nothing is known."""
    values = {key: row.get(key) for key in _COLUMNS}
    return {
        key: "" if value is None else f"{value:{_COLUMNS[key][1]}}"
        for key, value in values.items()
    }


def _titles():
    return {key: (title, "") for key, (title, _) in _COLUMNS.items()}
