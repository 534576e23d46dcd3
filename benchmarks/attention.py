"""Measures what the self-attention gains, and what it costs.

    python benchmarks/attention.py --pairs DIR [--preset lite | --model FILE]

Prints the mean gain in dB over the pairs, and the seconds for an image of
1280x720, for one network with its attention unchanged, left out, limited to
other windows or to none, pooled differently, and in tiles, in which it sees
less. All have the same weights.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from keras_radn import RADN
from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.tables import markdown_table
from keras_radn.inference import Deblurrer
from keras_radn.inference.benchmark import median_seconds
from keras_radn.training import evaluate_pairs

COLUMNS = {
    "attention": ("attention", ""),
    "gain": ("gain, dB", "+.3f"),
    "seconds": ("s at 1280x720", ".2f"),
}


def variants(model: RADN) -> dict[str, tuple[RADN, int | None]]:
    """Returns networks of the same weights, each with the tile to use."""
    architecture = model.architecture()
    own = architecture["attention_pool"]
    window = architecture["attention_window"]

    def variant(**changes):
        other = RADN(**{**architecture, **changes})
        other.set_weights(model.get_weights())
        return other

    without = variant()
    values = without.get_layer("attention").value_conv
    values.set_weights([np.zeros_like(w) for w in values.get_weights()])
    return {
        f"as it is, window {window}, pooled by {own}": (variant(), None),
        "left out": (without, None),
        **{
            f"window {size}" if size else "of all positions": (
                variant(attention_window=size),
                None,
            )
            for size in (16, 24, 32, 48, 0)
            if size != window
        },
        **{
            f"pooled by {size}": (variant(attention_pool=size), None)
            for size in (1, 2, 4)
            if size != own
        },
        "in tiles of 512": (variant(), 512),
        "in tiles of 256": (variant(), 256),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", required=True, help="blur/ and sharp/")
    add_model_arguments(parser)
    options = parser.parse_args()
    networks = variants(load_model(options))
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    deblurrers = [
        Deblurrer(network, tile=tile) for network, tile in networks.values()
    ]
    seconds = median_seconds(
        *(lambda deblur=deblur: deblur(image) for deblur in deblurrers),
        repetitions=5,
    )
    rows = []
    for name, deblurrer, spent in zip(
        networks, deblurrers, seconds, strict=True
    ):
        results = evaluate_pairs(options.pairs, deblurrer)
        gains = [r["deblurred_psnr"] - r["blurred_psnr"] for r in results]
        rows.append(
            {"attention": name, "gain": np.mean(gains), "seconds": spent}
        )
    print(markdown_table(rows, COLUMNS))


if __name__ == "__main__":
    main()
