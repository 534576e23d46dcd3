import argparse
import json
from pathlib import Path

from keras_radn.cli.messages import say
from keras_radn.cli.network_options import (
    add_dtype_argument,
    add_ensemble_arguments,
    add_model_arguments,
    make_deblurrer,
)
from keras_radn.cli.option_types import tile_side
from keras_radn.cli.output_files import require_folders
from keras_radn.cli.tables import markdown_table, write_csv
from keras_radn.files import written_beside

_COLUMNS = {
    "name": ("image", ""),
    "blurred_psnr": ("blurred, dB", ".2f"),
    "deblurred_psnr": ("deblurred, dB", ".2f"),
    "gain": ("gain, dB", "+.2f"),
    "blurred_ssim": ("blurred, SSIM", ".4f"),
    "deblurred_ssim": ("deblurred, SSIM", ".4f"),
    "seconds": ("s", ".2f"),
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="measure PSNR and SSIM on pairs (needs keras-radn[train])",
        description="Prints PSNR and SSIM of the blurred and of the deblurred "
        "images against the sharp ones (RGB, whole images, 8 bits), their "
        "means, and the time per image.",
    )
    parser.add_argument(
        "root",
        metavar="FOLDER",
        help="folder with blur/ and sharp/, or as GoPro, REDS or HIDE are "
        "unpacked, or a list of pairs, for example RealBlur_J_test_list.txt",
    )
    add_model_arguments(parser)
    add_dtype_argument(parser)
    parser.add_argument(
        "--blur",
        metavar="NAME",
        help="folders of blurred images, for example blur_gamma",
    )
    add_ensemble_arguments(parser)
    parser.add_argument(
        "--tile",
        type=tile_side,
        metavar="PIXELS",
        help="longest side of a tile, for images that are too large for the "
        "memory; 'auto': as deblur; 'off' (the default): whole images",
    )
    parser.add_argument(
        "--classical",
        action="store_true",
        help="compare with Wiener and Richardson-Lucy deconvolution by a "
        "Gaussian",
    )
    for kind in ("json", "csv"):
        parser.add_argument(
            f"--{kind}", metavar="FILE", type=Path, help=f"write {kind}, too"
        )
    parser.set_defaults(check=check, run=run)


def check(options: argparse.Namespace) -> None:
    """Raises a FileNotFoundError if there is no folder for a file."""
    require_folders(options.json, options.csv)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn evaluate`; see `main` for the exit status."""
    from keras_radn.training import CLASSICAL, evaluate_pairs, mean_row

    deblurrer = make_deblurrer(options)
    rows = evaluate_pairs(options.root, deblurrer, options.blur)
    say(f"measured: {deblurrer}")
    rows.append(mean_row(rows))
    if options.classical:
        for name, restore in CLASSICAL.items():
            means = mean_row(
                evaluate_pairs(options.root, blur=options.blur, restore=restore)
            )
            rows.append({**means, "name": f"mean, {name}"})
    for row in rows:
        row["gain"] = row["deblurred_psnr"] - row["blurred_psnr"]
    print(markdown_table(rows, _COLUMNS))
    if options.json is not None:
        with written_beside(options.json) as partial:
            partial.write_text(json.dumps(rows, indent=2) + "\n")
    if options.csv is not None:
        write_csv(options.csv, rows, list(_COLUMNS))
    return 0
