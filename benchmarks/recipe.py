"""Compares recipes at a short budget.

    python benchmarks/recipe.py --stills DIR --pairs DIR --validation DIR \
        --output DIR [--steps 300]

Trains RADN by variants of the packaged `ablation_small`, each with one change
and all with the same number of steps and pixels, and prints a row for each.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_radn import training
from keras_radn.cli.tables import markdown_table
from keras_radn.training import TrainingConfig, compare

ROWS = {
    "as packaged": {},
    "mean squared error": {"loss": "mean_squared_error"},
    "no moving average": {"ema_momentum": 0.0},
    "constant learning rate": {"decay_steps": 0},
    "patches of 128, a quarter as many": {"patch_size": 128, "batch_size": 2},
}
COLUMNS = {
    "row": ("recipe", ""),
    "loss": ("training loss", ".4f"),
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    for name in ("stills", "pairs", "validation", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--steps", type=int)
    options = vars(parser.parse_args())
    output = options.pop("output")
    packaged = Path(training.__file__).parent / "configs"
    config = TrainingConfig.from_toml(
        packaged / "ablation_small.toml", **options
    )
    rows = compare(config, ROWS, output)
    print(markdown_table(rows, COLUMNS))


if __name__ == "__main__":
    main()
