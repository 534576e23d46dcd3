"""Pictures between the frames of a video."""

from collections.abc import Sequence

import numpy as np

from keras_radn.datasets.opencv import cv2


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where the pixels of one frame are in the next.

    Args:
        first, second: uint8 `(height, width, 3)`.

    Returns:
        float16 `(height, width, 2)`: displacements in x and y, in pixels.
    """
    gray = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (first, second)]
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return method.calc(*gray, None).astype(np.float16)


def interpolate(
    first: np.ndarray,
    second: np.ndarray,
    flow: np.ndarray,
    time: float,
    light: np.ndarray | None = None,
    corner: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """The picture between two frames.

    Both frames are warped along the flow and blended, so that what only one
    of them shows fades.

    Args:
        first, second: uint8 `(height, width, 3)`.
        flow: of a window of the frames, float32, from the first to the second.
        time: from 0 (the first frame) to 1 (the second).
        light: intensities of the values 0 to 255; the values themselves if
            `None`.
        corner: top and left of the window.

    Returns:
        float32, of the window.
    """
    if light is None:
        light = np.arange(256, dtype=np.float32)
    top, left = corner
    height, width = flow.shape[:2]
    places = np.stack(
        np.meshgrid(
            np.arange(left, left + width, dtype=np.float32),
            np.arange(top, top + height, dtype=np.float32),
        ),
        axis=-1,
    )
    total = 0
    for frame, step, weight in (
        (first, -time, 1 - time),
        (second, 1 - time, time),
    ):
        moved = cv2.remap(
            frame,
            places + np.float32(step) * flow,
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        total = total + np.float32(weight) * cv2.LUT(moved, light)
    return total


def average(
    frames: Sequence[np.ndarray],
    flows: Sequence[np.ndarray],
    exposure: float,
    light: np.ndarray,
    corner: tuple[int, int],
) -> np.ndarray:
    """The mean over an exposure around the frame in the middle.

    Args:
        frames: an odd number of frames, uint8 `(height, width, 3)`.
        flows: of a window, float32, from each frame to the next.
        exposure: its length, in frames, less than there are.
        light: intensities of the values 0 to 255.
        corner: top and left of the window.

    Returns:
        Intensities, float32, of the window.
    """
    path = exposure * np.quantile(np.abs(np.array(flows)[:, ::8, ::8]), 0.99)
    instants = int(np.clip(path, 8, 24)) | 1  # odd: there is a middle
    total = 0
    for time in len(frames) // 2 + exposure * np.linspace(-0.5, 0.5, instants):
        i = min(int(time), len(flows) - 1)
        total = total + interpolate(
            frames[i], frames[i + 1], flows[i], time - i, light, corner
        )
    return total / instants
