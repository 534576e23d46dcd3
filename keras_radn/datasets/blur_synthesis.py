import os
from collections.abc import Sequence

import numpy as np

from keras_radn.datasets.camera import (
    BlurStrength,
    develop,
    out_of_focus,
    random_gamma,
    random_jpeg,
    random_light,
)
from keras_radn.datasets.image_files import cached_rgb, list_images, read_rgb
from keras_radn.datasets.opencv import cv2
from keras_radn.datasets.patches import BlurSource, require_size


class SyntheticBlur(BlurSource):
    """Motion-blurred patches made from a folder of sharp photographs.

    The image during the exposure is a sequence of homographies (shift,
    rotation, zoom, tilt) along a smooth random trajectory, optionally with a
    piece of another photograph in front of it on a trajectory of its own; the
    blurred image is their average, the sharp one the middle instant. The
    photograph, not the piece in front, can be put out of focus first.
    Noise and JPEG come after the blur.

    Args:
        root: a folder with sharp photographs, none smaller than the patches.
            Those with twice the side of the patches are best: what moves into
            the patch, and the reduction by up to 2, then come from the
            photograph itself.
        strength: distributions of the blur.
        candidates: random crops of a photograph of which the one with the most
            texture (mean difference of neighbouring pixels) becomes the patch.
            Skies and walls look alike with and without blur.

    Raises:
        FileNotFoundError: if there are no images.

    Example:

    ```python
    from keras_radn import datasets

    source = datasets.SyntheticBlur("photos")
    blurred, sharp = source.patch(0, np.random.default_rng(0), 64)
    ```
    """

    def __init__(
        self,
        root: str | os.PathLike,
        strength: BlurStrength | None = None,
        candidates: int = 1,
    ):
        self.paths = list_images(root)
        self.strength = strength or BlurStrength()
        self.candidates = candidates

    def __len__(self) -> int:
        return len(self.paths)

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

        Raises:
            ValueError: if a photograph is unreadable or smaller than the
                patch.
        """
        # The margin gives the moving image something to bring in.
        margin = size // 4
        crops = (
            self._crop(index, rng, size, margin) for _ in range(self.candidates)
        )
        scene = _reduced(max(crops, key=_texture), size + 2 * margin)
        front = None
        if rng.random() < self.strength.foreground:
            other = int(rng.integers(len(self)))
            front = self._crop(other, rng, size, margin)
            front = _reduced(front, size + 2 * margin)
        blurred, sharp = blur_scene(rng, scene, front, self.strength, margin)
        return random_jpeg(rng, blurred, self.strength), sharp

    def check(self, index: int, size: int | None = None) -> None:
        """Reads a photograph, which must have the patch's size at least."""
        require_size(self.paths[index], read_rgb(self.paths[index]), size)

    def _crop(self, index, rng, size, margin):
        image = cached_rgb(self.paths[index])
        require_size(self.paths[index], image, size)
        # Around the patch a small photograph is continued by reflection.
        missing = [max(0, size + 2 * margin - n) for n in image.shape[:2]]
        if any(missing):
            image = np.pad(
                image,
                [(n // 2, n - n // 2) for n in missing] + [(0, 0)],
                mode="reflect",
            )
        size += 2 * margin
        # Photographs are reduced by up to 2, which also makes them sharper.
        side = round(size * rng.uniform(1, min(2, min(image.shape[:2]) / size)))
        top = int(rng.integers(image.shape[0] - side + 1))
        left = int(rng.integers(image.shape[1] - side + 1))
        return image[top : top + side, left : left + side]


def _reduced(crop, size):
    if crop.shape[0] == size:
        return crop
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def _texture(image):
    # In OpenCV, and of every second pixel: each candidate is looked at.
    image = np.ascontiguousarray(image[::2, ::2, 1])
    return cv2.absdiff(image[1:], image[:-1]).mean() + (
        cv2.absdiff(image[:, 1:], image[:, :-1]).mean()
    )


def blur_scene(
    rng: np.random.Generator,
    scene: np.ndarray,
    front: np.ndarray | None = None,
    strength: BlurStrength | None = None,
    margin: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves a picture during an exposure.

    Args:
        rng: source of randomness.
        scene: the sharp picture, uint8 `(height, width, 3)`.
        front: a picture of the same size of which a soft-edged piece moves in
            front of the scene on a trajectory of its own, or `None`.
        strength: distributions of the blur.
        margin: pixels at each side that only give the motion something to
            bring in; they are not part of the result.

    Returns:
        Blurred and sharp picture, uint8, of the size without the margin.
    """
    strength = strength or BlurStrength()
    height, width = scene.shape[:2]
    gamma = random_gamma(rng, strength)
    still = rng.random() < strength.sharp
    light = random_light(rng, gamma, strength)
    behind = light[scene]
    # No draw where nothing is: a seed gives the picture that it always gave.
    if strength.defocus and rng.random() < strength.defocus:
        radius = rng.uniform(0, strength.defocus_radius)
        behind = out_of_focus(behind, radius)
    layers = [behind]
    if front is not None:
        alpha = _soft_mask(rng, height, width)[..., np.newaxis]
        layers.append(np.concatenate([light[front] * alpha, alpha], axis=-1))
    paths = [random_path(rng, strength) for _ in layers]
    if still:
        paths = [np.zeros_like(path) for path in paths]
    mean, middle = expose(layers, paths, margin)
    return develop(rng, mean, middle, gamma, strength)


def motion_blur(scene: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Blurs a picture by a straight motion of known length.

    Args:
        scene: the sharp picture, floating point `(height, width, 3)`; its
            values are averaged as they are.
        length: of the motion, in pixels.
        angle: its direction, in radians.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: if the picture is not in floating point.

    Example:

    ```python
    from keras_radn import datasets

    blurred = datasets.motion_blur(image, length=10, angle=0.5)
    ```
    """
    if not np.issubdtype(scene.dtype, np.floating):
        raise ValueError(
            "`scene` must be in floating point. Received: dtype "
            f"{scene.dtype}; for 8 bits give `scene / 255`"
        )
    scene = np.asarray(scene, np.float32)
    blurred, _ = expose([scene], [camera_path(length, angle)])
    return blurred


def random_path(rng: np.random.Generator, strength: BlurStrength) -> np.ndarray:
    """A smooth random motion during an exposure.

    Args:
        rng: source of randomness.
        strength: distributions of the blur.

    Returns:
        `(33, 6)`: shift in x and y (pixels), rotation (radians), relative
        zoom and tilt in x and y, at equal times; zero in the middle.
    """
    return camera_path(
        length=rng.gamma(strength.path_shape, strength.path_scale),
        angle=rng.uniform(0, 2 * np.pi),
        change=rng.normal(0, strength.curvature),
        bend=rng.normal(0, strength.curvature),
        wave=rng.normal(0, strength.curvature / 4),
        phase=rng.random(),
        rotation=rng.normal(0, strength.rotation),
        zoom=rng.normal(0, strength.zoom),
        tilt=rng.normal(0, strength.tilt, 2),
    )


def camera_path(
    length: float,
    angle: float,
    change: float = 0.0,
    bend: float = 0.0,
    wave: float = 0.0,
    phase: float = 0.0,
    rotation: float = 0.0,
    zoom: float = 0.0,
    tilt: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """A smooth motion during an exposure.

    Args:
        length: of the straight part of the path, in pixels.
        angle: its direction, in radians.
        change: of the speed, relative to its mean.
        bend: distance from the straight line at both ends, in quarters of the
            length.
        wave: amplitude of a sine across the line, relative to the length.
        phase: of the sine, in turns.
        rotation: from start to end, in radians.
        zoom: relative change of scale from start to end.
        tilt: change of scale from one side to the other, in x and y.

    Returns:
        As `random_path`.
    """
    t = np.linspace(-0.5, 0.5, 33)
    along = t + change * t**2
    across = bend * t**2 + wave * np.sin(2 * np.pi * (t + phase))
    path = np.empty((len(t), 6))
    path[:, 0] = length * (np.cos(angle) * along - np.sin(angle) * across)
    path[:, 1] = length * (np.sin(angle) * along + np.cos(angle) * across)
    path[:, 2] = rotation * t
    path[:, 3] = zoom * t
    path[:, 4:] = np.asarray(tilt) * t[:, np.newaxis]
    return path - path[len(t) // 2]


def expose(
    layers: Sequence[np.ndarray], paths: Sequence[np.ndarray], margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The light that falls on the sensor while layers move.

    Args:
        layers: the first one, `(height, width, 3)`, is behind the others,
            `(height, width, 4)`, which are multiplied by their last channel,
            the opacity; float32 intensities.
        paths: a path for each layer, as of `random_path`.
        margin: pixels at each side that are not part of the result.

    Returns:
        The mean over the exposure, and the picture at its middle.
    """
    longest = max(np.abs(np.diff(p[:, :2], axis=0)).sum() for p in paths)
    # One per pixel, or a light's trail has gaps. Odd: there is a middle.
    instants = max(int(longest), 8) | 1
    height, width = layers[0].shape[:2]
    times = np.linspace(0, 1, instants)
    motions = [homographies(p, times, height, width, margin) for p in paths]
    size = width - 2 * margin, height - 2 * margin
    total = np.zeros((size[1], size[0], 3), np.float32)
    for i in range(instants):
        picture = _compose(layers, [m[i] for m in motions], size)
        if i == instants // 2:
            middle = picture.copy()
        total += picture
    return total / instants, middle


def _compose(layers, motions, size):
    back, *fronts = (
        cv2.warpPerspective(
            layer, motion, size, borderMode=cv2.BORDER_REFLECT_101
        )
        for layer, motion in zip(layers, motions, strict=True)
    )
    for front in fronts:
        # In OpenCV: NumPy is slow where three channels meet one.
        transparency = cv2.cvtColor(1 - front[..., 3], cv2.COLOR_GRAY2RGB)
        back = cv2.multiply(back, transparency, dst=back)
        back += front[..., :3]
    return back


def homographies(
    path: np.ndarray, times: np.ndarray, height: int, width: int, margin: int
) -> np.ndarray:
    """Where the pixels of a layer are at each time.

    Args:
        path: as of `random_path`.
        times: from 0 to 1.
        height: of the layer, in pixels.
        width: of the layer, in pixels.
        margin: pixels at each side that are cut off.

    Returns:
        Matrices `(len(times), 3, 3)` from pixels `(x, y, 1)` of the layer to
        pixels of the picture, up to scale.
    """
    places = np.linspace(0, 1, len(path))
    dx, dy, angle, zoom, tilt_x, tilt_y = (
        np.interp(times, places, column) for column in path.T
    )
    motions = np.zeros((len(times), 3, 3))
    motions[:, 0, 0] = motions[:, 1, 1] = (1 + zoom) * np.cos(angle)
    motions[:, 0, 1] = (1 + zoom) * np.sin(angle)
    motions[:, 1, 0] = -motions[:, 0, 1]
    motions[:, 0, 2] = dx
    motions[:, 1, 2] = dy
    motions[:, 2, 0] = tilt_x / width
    motions[:, 2, 1] = tilt_y / height
    motions[:, 2, 2] = 1
    to_center = np.eye(3)
    to_center[:2, 2] = -width / 2, -height / 2
    from_center = np.eye(3)
    from_center[:2, 2] = width / 2 - margin, height / 2 - margin
    return from_center @ motions @ to_center


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
