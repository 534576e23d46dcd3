"""Measures how well frames of a video are interpolated along the optical flow.

    python benchmarks/frame_interpolation.py --videos DIR [--every 10]

Frames are reduced by 2, and left-out frames are interpolated from their two
neighbors; the PSNR against the real frame is averaged over the clip. The gap is
twice that of `VideoBlur`, which interpolates between successive frames.
"""

import argparse
from collections import deque
from pathlib import Path

import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from keras_radn.datasets.image_files import find_files
from keras_radn.datasets.interpolation import interpolate, optical_flow
from keras_radn.datasets.video import SUFFIXES, read_frames


def main() -> None:
    """Prints a row for each clip."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--every", type=int, default=10)
    options = parser.parse_args()
    print("| clip | mean of the neighbors, dB | along the flow, dB | gain |")
    print("|---|---:|---:|---:|")
    rows = []
    for path in find_files(options.videos, SUFFIXES):
        mean, flow = np.mean(compare(path, options.every), axis=0)
        rows.append((mean, flow))
        print_row(path.name, mean, flow)
    print_row("mean", *np.mean(rows, axis=0))


def compare(path: Path, every: int) -> list[tuple[float, float]]:
    """Measures the neighbors' mean and the interpolated frame.

    Args:
        path: a video.
        every: how many frames lie between those left out.

    Returns:
        Both PSNR in dB, for each frame left out.
    """
    rows = []
    recent = deque(maxlen=3)
    for i, (_, frame) in enumerate(read_frames(path)):
        recent.append(frame)
        if len(recent) == 3 and i % every == 0:
            before, real, after = recent
            flow = optical_flow(before, after).astype(np.float32)
            made = (
                (before.astype(np.float32) + after) / 2,
                interpolate(before, after, flow, 0.5),
            )
            rows.append(
                tuple(
                    peak_signal_noise_ratio(real, x, data_range=255)
                    for x in made
                )
            )
    return rows


def print_row(name: str, mean: float, flow: float) -> None:
    """Prints a row of the table."""
    print(f"| {name} | {mean:.1f} | {flow:.1f} | {flow - mean:+.1f} |")


if __name__ == "__main__":
    main()
