"""What a camera does to the light: averaging, noise, compression."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from keras_radn.datasets.opencv import cv2


@dataclass(frozen=True)
class BlurStrength:
    """Distributions from which a blur is drawn.

    The defaults lie between the blurs of REDS and GoPro: when their sharp
    frames are blurred anew, the median PSNR of patches (128 pixels, none left
    sharp) is about 1 dB above that of REDS and 1 dB below that of GoPro; see
    `benchmarks/blur_strength.py`. PSNR depends on texture as much as on blur:
    on other photographs the same strength gives other values.

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
        defocus: probability that the scene, not its foreground, is out of
            focus, in both pictures: what is to be left as it is.
        defocus_radius: largest radius of the circle of confusion, in pixels.
        linear_light: probability that light is averaged in linear intensities
            (gamma 2.2), else in the image's own values, as in the `blur`
            kind of the GoPro set.
        noise: largest standard deviation of the noise of white, in 1/255; its
            variance falls to a quarter in black.
        jpeg: probability that the blurred patch is compressed, at a quality
            of 60 to 98.
        exposure: largest change of the exposure of both pictures, in stops.

    Raises:
        ValueError: if a value is not a number, negative, or a probability above
            1.
    """

    path_shape: float = 1.6
    path_scale: float = 7.5
    rotation: float = 0.012
    zoom: float = 0.008
    tilt: float = 0.008
    curvature: float = 0.25
    foreground: float = 0.5
    sharp: float = 0.1
    defocus: float = 0.0
    defocus_radius: float = 3.0
    linear_light: float = 0.3
    noise: float = 1.5
    jpeg: float = 0.3
    exposure: float = 0.5

    def __post_init__(self):
        probabilities = (
            "foreground",
            "sharp",
            "defocus",
            "linear_light",
            "jpeg",
        )
        for name, value in asdict(self).items():
            highest = 1 if name in probabilities else math.inf
            if not isinstance(value, int | float) or not 0 <= value <= highest:
                limits = "in [0, 1]" if highest == 1 else "not negative"
                raise ValueError(
                    f"`{name}` of the blur's strength must be a number, "
                    f"{limits}. Received: {value!r}"
                )


def random_gamma(rng: np.random.Generator, strength: BlurStrength) -> float:
    """The exponent from values to the intensities that are averaged."""
    return 2.2 if rng.random() < strength.linear_light else 1.0


def random_light(
    rng: np.random.Generator, gamma: float, strength: BlurStrength
) -> np.ndarray:
    """The intensities of the values 0 to 255 at a random exposure.

    Args:
        rng: source of randomness.
        gamma: see `random_gamma`.
        strength: gives the largest change of the exposure.

    Returns:
        float32 `(256,)`, about 0 to 1.
    """
    light = (np.arange(256, dtype=np.float32) / 255) ** gamma
    stops = strength.exposure * rng.uniform(-1, 1)
    return light * np.float32(2 ** (stops * gamma / 2.2))


def out_of_focus(picture: np.ndarray, radius: float) -> np.ndarray:
    """What a lens makes of a picture at another distance than its focus.

    Args:
        picture: intensities, float32 `(height, width, channels)`.
        radius: of the circle of confusion, in pixels.

    Returns:
        Each value spread over a disc; float32 array of the same shape.
    """
    reach = math.ceil(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # Pixels at the edge count by the part that is about inside.
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return cv2.filter2D(
        picture,
        -1,
        (disc / disc.sum()).astype(np.float32),
        borderType=cv2.BORDER_REFLECT_101,
    )


def develop(
    rng: np.random.Generator,
    blurred: np.ndarray,
    sharp: np.ndarray,
    gamma: float,
    strength: BlurStrength,
) -> tuple[np.ndarray, np.ndarray]:
    """Turns intensities into pictures; the blurred one gets noise.

    Args:
        rng: source of randomness.
        blurred, sharp: intensities as of `random_light`, `(height, width, 3)`.
        gamma: see `random_gamma`.
        strength: gives the noise.

    Returns:
        Blurred and sharp picture, uint8, of the same size.
    """
    return tuple(
        to_uint8(picture, gamma, noise, rng)
        for picture, noise in (
            (blurred, rng.uniform(0, strength.noise)),
            (sharp, 0),
        )
    )


def to_uint8(
    picture: np.ndarray, gamma: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Intensities as 8-bit values, with noise that grows with the light.

    Args:
        picture: intensities; clipped to [0, 1].
        gamma: see `random_gamma`.
        noise: standard deviation of the noise of white, in 1/255.
        rng: source of randomness.

    Returns:
        uint8 array of the same shape.
    """
    values = 255 * np.clip(picture, 0, 1) ** (1 / gamma)
    if noise:
        deviation = noise * np.sqrt((1 + 3 * values / 255) / 4)
        values = values + deviation * rng.normal(size=values.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def random_jpeg(
    rng: np.random.Generator, picture: np.ndarray, strength: BlurStrength
) -> np.ndarray:
    """Compresses a picture, or leaves it, at random.

    Args:
        rng: source of randomness.
        picture: uint8 `(height, width, 3)`.
        strength: gives the probability.

    Returns:
        The picture as it is read again.
    """
    if rng.random() >= strength.jpeg:
        return picture
    quality = int(rng.integers(60, 99))
    # OpenCV's order of channels is blue, green, red.
    _, data = cv2.imencode(
        ".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
