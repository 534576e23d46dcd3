import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_radn.datasets.camera import (
    BlurStrength,
    develop,
    random_gamma,
    random_jpeg,
    random_light,
)
from keras_radn.datasets.image_files import find_files
from keras_radn.datasets.interpolation import average, optical_flow
from keras_radn.datasets.opencv import cv2
from keras_radn.datasets.patches import BlurSource, require_size
from keras_radn.pictures.videos import import_av, open_video

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")

# Frames of a moment; the longest exposure goes from the first to the last.
_FRAMES = 5
# Mean difference of successive frames at a cut; fast pans stay below.
_CUT = 25
# Places tried for a patch; the one with the most motion is taken.
_PLACES = 8


class VideoBlur(BlurSource):
    """Motion-blurred patches made from videos.

    The sharp image is a frame, the blurred one the average over an exposure
    around it. Between frames the image is interpolated along the optical flow
    (DIS; `benchmarks/frame_interpolation.py` measures how well). Frames have
    blur, noise and compression of their own, so they are reduced by 2, and of
    each second the sharpest frame is taken (variance of the Laplacian) whose
    neighbours lie in the same shot. The patch is the one with the most
    motion of eight random ones, as most of many videos stands still.

    An entry is a second of a video; videos that are shorter than `seconds`
    repeat theirs, so that all videos have the same weight. The first patch of
    a video decodes it; later ones find its moments in memory.

    Args:
        root: a folder with videos of about 24 to 60 frames a second and at
            least twice the patch's size.
        strength: gives light, noise, JPEG and exposure as for `SyntheticBlur`,
            and the probability of no motion; the motion itself is the video's.
        seconds: how much of each video to use, from its start.
        memory: of all moments together, in bytes; with less than they take,
            some seconds are left out, but one of each video stays.

    Raises:
        FileNotFoundError: if there are no videos.
        ImportError: if PyAV is not installed.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        strength: BlurStrength | None = None,
        seconds: int = 16,
        memory: int = 2 * 2**30,
    ):
        import_av()
        self.paths = find_files(root, SUFFIXES)
        if not self.paths:
            raise FileNotFoundError(
                f"There are no videos ({', '.join(SUFFIXES)}) in {root}."
            )
        self.strength = strength or BlurStrength()
        self.seconds = seconds
        self._memory = memory // len(self.paths)
        self._moments = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.paths) * self.seconds

    def __getstate__(self):
        # For another process, which has a lock of its own.
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    def patch(
        self, index: int, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A blurred patch of a second of a video.

        Args:
            index: which second of which video.
            rng: source of randomness.
            size: side of the patch in pixels, of the reduced video.

        Returns:
            Blurred and sharp patch, uint8 `(size, size, 3)`.

        Raises:
            ValueError: if the video is unreadable, has no five frames without
                a cut, or is smaller than twice the patch.
        """
        number, second = divmod(index, self.seconds)
        moments = self._load(number)
        frames, flows = moments[second % len(moments)]
        self._require_size(number, frames, size)
        top, left = _liveliest_place(rng, flows, size)
        window = np.s_[top : top + size, left : left + size]
        flows = [flow[window].astype(np.float32) for flow in flows]
        still = rng.random() < self.strength.sharp
        exposure = 0 if still else rng.uniform(1, _FRAMES - 1)  # in frames
        gamma = random_gamma(rng, self.strength)
        light = random_light(rng, gamma, self.strength)
        mean = average(frames, flows, exposure, light, (top, left))
        middle = light[frames[_FRAMES // 2][window]]
        blurred, sharp = develop(rng, mean, middle, gamma, self.strength)
        return random_jpeg(rng, blurred, self.strength), sharp

    def check(self, index: int, size: int | None = None) -> None:
        """Decodes a video, which must have twice the patch's size."""
        number, second = divmod(index, self.seconds)
        if second == 0:  # the other entries are of the same file
            frames, _ = self._load(number)[0]
            self._require_size(number, frames, size)

    def _require_size(self, number, frames, size):
        name = f"{self.paths[number]}, reduced by 2,"
        require_size(name, frames[0], size)

    def _load(self, number):
        with self._lock:
            if number not in self._moments:
                self._moments[number] = self._read(self.paths[number])
            return self._moments[number]

    def _read(self, path):
        moments = _sharpest_moments(path, self.seconds)
        # The flow to the next frame takes about as much as the frame.
        size = sum(2 * frame.nbytes for frame in moments[0])
        kept = np.linspace(
            0,
            len(moments) - 1,
            int(np.clip(self._memory // size, 1, len(moments))),
        )
        return [
            (frames, [optical_flow(*two) for two in itertools.pairwise(frames)])
            for frames in (moments[round(i)] for i in kept)
        ]


def read_frames(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes a video, reduced by 2.

    A Matroska or WebM file that was cut short reads as a shorter video.

    Args:
        path: the file.

    Yields:
        The second of the video, and the frame, uint8 `(height, width, 3)`.

    Raises:
        ImportError: if PyAV is not installed.
        ValueError: if the file is not a readable video or is damaged.
    """
    with open_video(path) as (container, stream):
        rate = stream.average_rate or 30
        for i, frame in enumerate(container.decode(stream)):
            yield (
                int(i / rate),
                frame.reformat(
                    frame.width // 2,
                    frame.height // 2,
                    "rgb24",
                    interpolation="AREA",
                ).to_ndarray(),
            )


def _sharpest_moments(path, seconds):
    """Frames around the sharpest one of each second."""
    best = {}
    recent = deque(maxlen=_FRAMES)  # second, sharpness, frame, gray
    for second, frame in read_frames(path):
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if recent and cv2.absdiff(gray, recent[-1][-1]).mean() > _CUT:
            recent.clear()
        sharpness = cv2.Laplacian(gray, cv2.CV_32F).var()
        recent.append((second, sharpness, frame, gray))
        if len(recent) == _FRAMES:
            second, sharpness, *_ = recent[_FRAMES // 2]
            if second == seconds:
                break
            if second not in best or sharpness > best[second][0]:
                best[second] = sharpness, [frame for *_, frame, _ in recent]
    if not best:
        raise ValueError(
            f"{path} has no {_FRAMES} frames without a cut; remove it."
        )
    return [frames for _, frames in best.values()]


def _liveliest_place(rng, flows, size):
    height, width = flows[0].shape[:2]
    places = rng.integers(
        (height - size + 1, width - size + 1), size=(_PLACES, 2)
    )
    motion = [
        sum(
            np.abs(flow[top : top + size : 16, left : left + size : 16]).mean(
                dtype=np.float32
            )
            for flow in flows
        )
        for top, left in places
    ]
    return places[np.argmax(motion)].tolist()
