import os
from dataclasses import dataclass

import numpy as np

try:
    import cv2
except ImportError as error:
    raise ImportError(
        "Making blur needs OpenCV: pip install 'keras-radn[train]'."
    ) from error

from keras_radn.datasets.files import list_images, read_rgb


@dataclass(frozen=True)
class BlurStrength:
    """Distributions from which a blur is drawn.

    Attributes:
        path_shape, path_scale: gamma distribution of the length of the path
            during the exposure, in pixels.
        rotation: standard deviation of the rotation, in radians.
        zoom: standard deviation of the relative change of scale.
        tilt: standard deviation of the change of scale from one side of the
            picture to the other, in each direction (pan and tilt of a camera).
        curvature: standard deviation of the path's bend, relative to its
            length.
        foreground: probability of a foreground that moves on its own.
        sharp: probability of no motion at all.
        linear_light: probability that light is averaged in linear intensities
            (gamma 2.2), else in the image's own values, as in the `blur`
            kind of the GoPro set.
        noise: largest standard deviation of the noise of white, in 1/255; its
            variance falls to a quarter in black.
        jpeg: probability that the blurred patch is compressed, at a quality
            of 60 to 98.
        exposure: largest change of the exposure of both pictures, in stops.
    """

    path_shape: float = 2.0
    path_scale: float = 4.5
    rotation: float = 0.012
    zoom: float = 0.008
    tilt: float = 0.008
    curvature: float = 0.25
    foreground: float = 0.5
    sharp: float = 0.1
    linear_light: float = 0.3
    noise: float = 1.5
    jpeg: float = 0.3
    exposure: float = 0.5


class SyntheticBlur:
    """Motion-blurred patches made from a folder of sharp photographs.

    The image during the exposure is a sequence of homographies (shift,
    rotation, zoom, tilt) along a smooth random trajectory, optionally with a
    piece of another photograph in front of it on a trajectory of its own; the
    blurred image is their average, the sharp one the middle instant. Noise and
    JPEG come after the blur.

    Args:
        root: a folder with sharp photographs.
        strength: distributions of the blur.

    Raises:
        FileNotFoundError: if there are no images.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        strength: BlurStrength | None = None,
    ):
        self.paths = list_images(root)
        self.strength = strength or BlurStrength()

    def __len__(self) -> int:
        return len(self.paths)

    def sample(
        self, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A blurred patch of a random photograph; see `patch`."""
        return self.patch(int(rng.integers(len(self))), rng, size)

    def patch(
        self, index: int, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A blurred patch of a photograph.

        Args:
            index: which photograph.
            rng: source of randomness.
            size: side of the patch in pixels.

        Returns:
            Blurred and sharp patch, uint8 `(size, size, 3)`.
        """
        # The margin gives the moving image something to bring in.
        margin = size // 4
        scene = self._crop(index, rng, size + 2 * margin)
        front = None
        if rng.random() < self.strength.foreground:
            other = int(rng.integers(len(self)))
            front = self._crop(other, rng, size + 2 * margin)
        blurred, sharp = blur_scene(rng, scene, front, self.strength)
        window = np.s_[margin : margin + size, margin : margin + size]
        blurred, sharp = blurred[window], sharp[window]
        if rng.random() < self.strength.jpeg:
            blurred = _compress(blurred, int(rng.integers(60, 99)))
        return blurred, sharp

    def _crop(self, index, rng, size):
        image = read_rgb(self.paths[index])
        # Photographs are reduced by up to 2, which also makes them sharper.
        side = size * rng.uniform(
            1, max(1, min(2, min(image.shape[:2]) / size))
        )
        side = min(round(side), *image.shape[:2])
        top = int(rng.integers(image.shape[0] - side + 1))
        left = int(rng.integers(image.shape[1] - side + 1))
        crop = image[top : top + side, left : left + side]
        interpolation = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        return cv2.resize(crop, (size, size), interpolation=interpolation)


def blur_scene(
    rng: np.random.Generator,
    scene: np.ndarray,
    front: np.ndarray | None = None,
    strength: BlurStrength | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves a picture during an exposure.

    Args:
        rng: source of randomness.
        scene: the sharp picture, uint8 `(height, width, 3)`.
        front: a picture of the same size of which a soft-edged piece moves in
            front of the scene on a trajectory of its own, or `None`.
        strength: distributions of the blur.

    Returns:
        Blurred and sharp picture, uint8, of the same size.
    """
    strength = strength or BlurStrength()
    height, width = scene.shape[:2]
    gamma = 2.2 if rng.random() < strength.linear_light else 1.0
    still = rng.random() < strength.sharp
    light = (np.arange(256, dtype=np.float32) / 255) ** gamma
    stops = strength.exposure * rng.uniform(-1, 1)
    light *= np.float32(2 ** (stops * gamma / 2.2))
    layers = [light[scene]]
    if front is not None:
        alpha = _soft_mask(rng, height, width)[..., np.newaxis]
        layers.append(np.concatenate([light[front] * alpha, alpha], axis=-1))
    paths = [random_path(rng, strength) for _ in layers]
    if still:
        paths = [np.zeros_like(path) for path in paths]
    longest = max(np.abs(np.diff(p[:, :2], axis=0)).sum() for p in paths)
    instants = int(np.clip(longest, 8, 40)) | 1  # odd: there is a middle
    total = np.zeros_like(layers[0])
    for t in np.linspace(0, 1, instants):
        total += _compose(layers, paths, t)
    middle = _compose(layers, paths, 0.5)
    return tuple(
        _to_uint8(picture, gamma, noise, rng)
        for picture, noise in (
            (total / instants, rng.uniform(0, strength.noise)),
            (middle, 0),
        )
    )


def random_path(rng: np.random.Generator, strength: BlurStrength) -> np.ndarray:
    """A smooth random motion during an exposure.

    Args:
        rng: source of randomness.
        strength: distributions of the blur.

    Returns:
        `(33, 6)`: shift in x and y (pixels), rotation (radians), relative
        zoom and tilt in x and y, at equal times; zero in the middle.
    """
    t = np.linspace(-0.5, 0.5, 33)
    length = rng.gamma(strength.path_shape, strength.path_scale)
    angle = rng.uniform(0, 2 * np.pi)
    along = t + rng.normal(0, strength.curvature) * t**2
    bend = rng.normal(0, strength.curvature)
    wave = rng.normal(0, strength.curvature / 4)
    across = bend * t**2 + wave * np.sin(2 * np.pi * (t + rng.random()))
    path = np.empty((len(t), 6))
    path[:, 0] = length * (np.cos(angle) * along - np.sin(angle) * across)
    path[:, 1] = length * (np.sin(angle) * along + np.cos(angle) * across)
    path[:, 2] = rng.normal(0, strength.rotation) * t
    path[:, 3] = rng.normal(0, strength.zoom) * t
    path[:, 4:] = rng.normal(0, strength.tilt, 2) * t[:, np.newaxis]
    return path - path[len(t) // 2]


def _compose(layers, paths, t):
    picture = None
    for layer, path in zip(layers, paths, strict=True):
        moved = _warp(layer, path, t)
        if picture is None:
            picture = moved
        else:
            picture = moved[..., :3] + (1 - moved[..., 3:]) * picture
    return picture


def _warp(layer, path, t):
    times = np.linspace(0, 1, len(path))
    dx, dy, angle, zoom, tilt_x, tilt_y = (
        np.interp(t, times, column) for column in path.T
    )
    height, width = layer.shape[:2]
    center = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    scale = 1 + zoom
    motion = np.array(
        [
            [scale * np.cos(angle), scale * np.sin(angle), dx],
            [-scale * np.sin(angle), scale * np.cos(angle), dy],
            [tilt_x / width, tilt_y / height, 1],
        ]
    )
    return cv2.warpPerspective(
        layer,
        center @ motion @ np.linalg.inv(center),
        (width, height),
        borderMode=cv2.BORDER_REFLECT_101,
    )


def _soft_mask(rng, height, width):
    mask = np.zeros((height, width), np.float32)
    center = rng.uniform(0.2, 0.8, 2) * (width, height)
    radius = rng.uniform(0.1, 0.35, 12) * min(height, width)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    outline = center + radius[:, np.newaxis] * np.stack(
        [np.cos(angles), np.sin(angles)], axis=-1
    )
    cv2.fillPoly(mask, [outline.astype(np.int32)], 1.0)
    return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.7, 2.5))


def _to_uint8(picture, gamma, noise, rng):
    values = 255 * np.clip(picture, 0, 1) ** (1 / gamma)
    if noise:
        deviation = noise * np.sqrt((1 + 3 * values / 255) / 4)
        values = values + deviation * rng.normal(size=values.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _compress(picture, quality):
    # OpenCV's order of channels is blue, green, red.
    _, data = cv2.imencode(
        ".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
