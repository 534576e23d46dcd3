"""Measures how strong blurs are, as the PSNR of blurred against sharp patches.

    python benchmarks/blur_strength.py --stills DIR --videos DIR \
        --reds DIR --gopro DIR [--plot benchmarks/blur_strength.png]

Compares real pairs with synthetic ones that are not left sharp on purpose. PSNR
depends on texture as much as on blur, so the sharp frames of the real pairs are
blurred too: "as REDS" and "as GoPro" compare with the real rows above them. (As
other photographs they are reduced by up to 2 before, which costs some dB.)
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from keras_radn.datasets import (
    BlurStrength,
    ImagePairs,
    PatchSource,
    SyntheticBlur,
    VideoBlur,
)

QUANTILES = (10, 25, 50, 75, 90)
# Okabe and Ito's colors, which the color-blind can tell apart.
STYLES = {
    "REDS": ("#000000", "-"),
    "GoPro": ("#D55E00", "-"),
    "photographs": ("#0072B2", "--"),
    "videos": ("#009E73", "--"),
}


def main() -> None:
    """Prints the table and draws the plot."""
    parser = argparse.ArgumentParser()
    for name in ("stills", "videos", "reds", "gopro"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--patches", type=int, default=400)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()

    strength = BlurStrength(sharp=0)
    reds, gopro = ImagePairs(options.reds), ImagePairs(options.gopro)
    sources = {
        "REDS": reds,
        "as REDS": blur_again(reds, options.reds, strength),
        "GoPro": gopro,
        "as GoPro": blur_again(gopro, options.gopro, strength),
        "photographs": SyntheticBlur(options.stills, strength),
        "videos": VideoBlur(options.videos, strength),
    }
    print(f"| dB | {' | '.join(f'{q} %' for q in QUANTILES)} |")
    print(f"|---|{'---:|' * len(QUANTILES)}")
    strengths = {}
    for name, source in sources.items():
        strengths[name] = psnr(source, options.patches, options.size)
        values = np.percentile(strengths[name], QUANTILES)
        print(f"| {name} | {' | '.join(f'{v:.1f}' for v in values)} |")
    if options.plot:
        draw(strengths, options.size, options.plot)


def blur_again(
    pairs: ImagePairs, root: Path, strength: BlurStrength
) -> SyntheticBlur:
    """Blurs the sharp images of real pairs."""
    source = SyntheticBlur(root, strength)
    source.paths = list(pairs.sharp)
    return source


def psnr(source: PatchSource, patches: int, size: int) -> np.ndarray:
    """Measures the PSNR in dB of random patches; at most 68, for equal ones.

    Args:
        source: where they come from.
        patches: how many.
        size: side of a patch in pixels.

    Returns:
        `(patches,)`.
    """
    values = []
    for i in range(patches):
        pair = source.sample(np.random.default_rng([0, i]), size)
        blurred, sharp = (picture.astype(float) for picture in pair)
        error = max(np.square(blurred - sharp).mean(), 0.01)
        values.append(10 * np.log10(255**2 / error))
    return np.array(values)


def draw(strengths: dict[str, np.ndarray], size: int, path: Path) -> None:
    """Draws histograms of PSNR; the outer bins include all beyond.

    Args:
        strengths: PSNR in dB for each source in `STYLES`.
        size: side of a patch in pixels.
        path: the picture to write.
    """
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    for name, (color, line) in STYLES.items():
        axes.hist(
            np.clip(strengths[name], 10, 46),
            bins=np.arange(10, 47, 2),
            weights=np.full(len(strengths[name]), 100 / len(strengths[name])),
            histtype="step",
            label=f"{name} (real blur)" if line == "-" else f"{name} (made)",
            color=color,
            linestyle=line,
            linewidth=2,
        )
    axes.set_xlabel("PSNR of the blurred patch, dB", fontsize=14)
    axes.set_ylabel(f"patches of {size} pixels, %", fontsize=14)
    axes.tick_params(labelsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=13, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
