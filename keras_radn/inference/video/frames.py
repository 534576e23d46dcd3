"""Colors of video frames: from their planes to RGB, and changes back.

FFmpeg's own conversion to RGB and back shifts full-range colors (by half a
step of 8 bits in the chroma, by one and a half of 10 bits in the luma) and
clips what lies outside of RGB. Here only what the network has changed is
converted back and added to the planes, so that a pixel that was not changed
keeps its very numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Kr and Kb of the matrices by their number in ITU-T H.273, table 4.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}
_RGB, _BT709, _UNSPECIFIED, _BT601 = 0, 1, 2, 6
LIMITED, FULL = 1, 2


@dataclass(frozen=True)
class Coding:
    """How the numbers of a frame stand for colors.

    Args:
        matrix: number of the matrix in ITU-T H.273, table 4, but 0 and 2.
        full: whether luma and chroma use all numbers ("JPEG" range).
        bits: per number, at least 8.

    Raises:
        ValueError: if the matrix is not one of BT.709, FCC, BT.601, SMPTE 240M
            and BT.2020 (non-constant luminance).
    """

    matrix: int
    full: bool
    bits: int

    def __post_init__(self):
        if self.matrix not in _LUMA_WEIGHTS:
            raise ValueError(
                f"has colors by matrix {self.matrix} of ITU-T H.273, which is "
                "not supported; convert it to BT.709 first."
            )

    def to_rgb(self, codes: np.ndarray) -> np.ndarray:
        """RGB, where black is 0 and white 1, of luma and chroma.

        Args:
            codes: float32 `(height, width, 3)`: Y, Cb, Cr as coded.

        Returns:
            float32 array of the same shape; not clipped.
        """
        offset = 0 if self.full else 16 * self._step
        zero = np.float32([offset, 128 * self._step, 128 * self._step])
        return (codes - zero) @ (self._matrix() / self._scale()).T

    def change(self, rgb: np.ndarray) -> np.ndarray:
        """A difference in RGB as one in luma and chroma as coded."""
        inverse = np.linalg.inv(self._matrix() / self._scale())
        return rgb @ inverse.astype(np.float32).T

    @property
    def _step(self):
        return 2 ** (self.bits - 8)

    def _scale(self):
        """Numbers from black to white, and from end to end of the chroma."""
        if self.full:
            return np.full(3, 2**self.bits - 1, np.float32)
        return np.float32([219, 224, 224]) * self._step

    def _matrix(self):
        """Y, Cb, Cr to R, G, B (ITU-T H.273, equations 38 to 43)."""
        red, blue = _LUMA_WEIGHTS[self.matrix]
        green = 1 - red - blue
        return np.float32(
            [
                [1, 0, 2 * (1 - red)],
                [
                    1,
                    -2 * blue * (1 - blue) / green,
                    -2 * red * (1 - red) / green,
                ],
                [1, 2 * (1 - blue), 0],
            ]
        )


class FrameEditor:
    """Applies a function of RGB images to the frames of a video.

    Args:
        av: the module.
        frame: a decoded `av.VideoFrame`; those that follow must be of its
            size and format.

    Attributes:
        format: of the frames that come out: `"yuv420p"`, or `"yuv420p10le"`
            for sources of more than 8 bits.
        coding: their `Coding`.
        color_range, colorspace: their tags in FFmpeg's numbers; those of the
            source, unless it is in RGB.

    Raises:
        ValueError: if the matrix of the colors is not supported.
    """

    def __init__(self, av, frame):
        self._av = av
        self._reformatter = av.video.reformatter.VideoReformatter()
        component = frame.format.components[0]
        bits = 10 if component.bits > 8 else 8
        self._dtype = np.dtype(np.uint16 if bits > 8 else np.uint8)
        self.format = "yuv420p10le" if bits > 8 else "yuv420p"
        self.color_range, self.colorspace = frame.color_range, frame.colorspace
        if _is_rgb(frame):
            self.color_range, self.colorspace = LIMITED, _BT709
        elif frame.format.name.startswith("yuvj") or (
            frame.format.name.startswith("gray") and not self.color_range
        ):
            self.color_range = FULL  # as FFmpeg does
        matrix = self.colorspace
        if matrix in (_RGB, _UNSPECIFIED):  # as players guess
            hd = frame.width >= 1280 or frame.height > 576
            matrix = _BT709 if hd else _BT601
        self.coding = Coding(matrix, self.color_range == FULL, bits)

    def __call__(
        self,
        frame,
        edit: Callable[[np.ndarray], np.ndarray],
        width: int,
        height: int,
    ):
        """A frame with the same times and side data.

        Args:
            frame: the `av.VideoFrame`; it may be changed.
            edit: from and to float32 `(height, width, 3)`, RGB in [0, 1].
            width: of the result, at most one more than that of the frame;
                the last column is repeated.
            height: likewise.
        """
        flat = self._reformat(frame, self.format)
        codes = self._codes(flat)
        rgb = np.clip(self.coding.to_rgb(codes), 0, 1)
        change = self.coding.change(edit(rgb) - rgb)
        planes = [
            _added(plane, delta, self.coding.bits)
            for plane, delta in zip(
                self._planes(flat),
                (change[..., 0], *_halved(change[..., 1:])),
                strict=True,
            )
        ]
        if (width, height) != (frame.width, frame.height):
            planes[0] = np.pad(
                planes[0],
                ((0, height - frame.height), (0, width - frame.width)),
                "edge",
            )
            flat = self._reformatter.reformat(flat, width, height)
        flat.make_writable()  # the decoder may still refer to it
        for target, plane in zip(self._planes(flat), planes, strict=True):
            target[:] = plane
        flat.color_range, flat.colorspace = self.color_range, self.colorspace
        flat.pict_type = 0  # for the encoder to choose
        return flat

    def _reformat(self, frame, format_):
        if _is_rgb(frame):
            return self._reformatter.reformat(
                frame,
                format=format_,
                dst_colorspace=_BT709,
                dst_color_range=LIMITED,
                interpolation=self._flags,
            )
        # Both ends declared full range: numbers are shifted, not converted.
        return self._reformatter.reformat(
            frame,
            format=format_,
            src_color_range=FULL,
            dst_color_range=FULL,
            interpolation=self._flags,
        )

    @property
    def _flags(self):
        flag = self._av.video.reformatter.Interpolation
        return flag.BICUBIC | flag.ACCURATE_RND

    def _codes(self, flat):
        """Luma and chroma at full resolution, float32."""
        full = self._reformat(flat, "yuv444p16le")
        shift = 2.0 ** (self.coding.bits - 16)
        return np.stack(
            [
                plane.astype(np.float32) * np.float32(shift)
                for plane in _planes(full, np.dtype(np.uint16))
            ],
            axis=-1,
        )

    def _planes(self, frame):
        return _planes(frame, self._dtype)


def _is_rgb(frame):
    return frame.format.is_rgb or frame.format.has_palette


def _planes(frame, dtype):
    """The planes of a frame as arrays that share its memory."""
    return [
        np.frombuffer(plane, dtype).reshape(
            plane.height, plane.line_size // dtype.itemsize
        )[:, : plane.width]
        for plane in frame.planes
    ]


def _halved(chroma):
    """4:2:0 of 4:4:4; between two rows, on every second column (MPEG-2)."""
    height, width = chroma.shape[:2]
    rows = np.pad(chroma, ((0, height % 2), (1, 1 + width % 2), (0, 0)), "edge")
    rows = (rows[::2] + rows[1::2]) / 2
    left, middle, right = rows[:, :-2:2], rows[:, 1:-1:2], rows[:, 2::2]
    return np.moveaxis((left + 2 * middle + right) / 4, -1, 0)


def _added(plane, change, bits):
    return np.clip(np.rint(plane + change), 0, 2**bits - 1)
