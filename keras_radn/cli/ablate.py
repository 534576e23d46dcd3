import argparse
import json
from pathlib import Path

from keras_radn.cli.tables import markdown_table
from keras_radn.cli.train import add_config_arguments, make_config
from keras_radn.files import written_beside

_COLUMNS = {
    "row": ("row", ""),
    "parameters": ("parameters", ","),
    "loss": ("training loss", ".4f"),
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "images": ("of images", ",d"),
    "paper_psnr": ("paper's PSNR of 1,111, dB", ".2f"),
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn ablate`."""
    parser = commands.add_parser(
        "ablate",
        help="train the rows of a table of the paper "
        "(needs keras-radn[train,visualize])",
        description="Trains the rows of the paper's Table 1 or 2 under equal "
        "budgets, prints the table and draws the curves of Figure 6. The "
        "output folder gets a run per row, table.md, table.json and "
        "curves.png.",
    )
    parser.add_argument("--table", type=int, required=True, choices=(1, 2))
    parser.add_argument(
        "--peers",
        action="store_true",
        help="train the networks that Table 1 compares with, too",
    )
    add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn ablate`; see `main` for the exit status."""
    config = make_config(options)

    from keras_radn.training import ablate
    from keras_radn.visualize import training_curves

    output = Path(options.output)
    rows = ablate(config, options.table, output, options.peers)
    text = markdown_table(rows, _COLUMNS)
    print(text)
    with written_beside(output / "table.md") as partial:
        partial.write_text(f"{text}\n")
    logs = {row["row"]: row.pop("log") for row in rows}
    with written_beside(output / "table.json") as partial:
        partial.write_text(json.dumps(rows, indent=2) + "\n")
    with written_beside(output / "curves.png") as partial:
        training_curves(logs).savefig(partial, dpi=120)
    return 0
