import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from keras_radn.datasets import SyntheticBlur, blur_synthesis, camera
from keras_radn.datasets.blur_synthesis import (
    BlurStrength,
    blur_scene,
    camera_path,
    expose,
    homographies,
    motion_blur,
    random_path,
)

EXACT = {"noise": 0, "sharp": 0, "foreground": 0, "exposure": 0}


def test_sample(stills_folder):
    source = SyntheticBlur(stills_folder)
    pairs = [source.sample(np.random.default_rng(i), 64) for i in range(8)]
    for blurred, sharp in pairs:
        assert blurred.shape == sharp.shape == (64, 64, 3)
        assert blurred.dtype == sharp.dtype == np.uint8
    again = source.sample(np.random.default_rng(0), 64)
    np.testing.assert_array_equal(again, pairs[0])
    # Blur removes contrast between neighbors, on average.
    source = SyntheticBlur(stills_folder, BlurStrength(noise=0, sharp=0))
    pairs = [source.sample(np.random.default_rng(i), 64) for i in range(8)]
    contrast = [[_contrast(image) for image in pair] for pair in pairs]
    blurred, sharp = np.mean(contrast, axis=0)
    assert blurred < 0.8 * sharp


@pytest.mark.parametrize("linear_light", [0, 1])
def test_equals_mean_of_shifted_images(linear_light, monkeypatch, photo, rng):
    """A straight path of 8 pixels gives SciPy's mean of shifts."""
    path = np.zeros((33, 6))
    path[:, 0] = np.linspace(-4, 4, 33)
    monkeypatch.setattr(blur_synthesis, "random_path", lambda *_: path)
    scene = photo[100:164, 100:180]
    strength = BlurStrength(linear_light=linear_light, **EXACT)
    blurred, sharp = blur_scene(rng, scene, None, strength)
    np.testing.assert_array_equal(sharp, scene)
    gamma = 2.2 if linear_light else 1
    light = (scene / 255) ** gamma
    moved = [
        ndimage.shift(light, (0, dx, 0), order=1, mode="mirror")
        for dx in np.linspace(-4, 4, 9)
    ]
    expected = 255 * np.mean(moved, axis=0) ** (1 / gamma)
    # OpenCV's positions are multiples of 1/32 pixel.
    assert np.abs(blurred - expected).max() < 3


def test_no_motion_is_no_change(photo, rng):
    strength = BlurStrength(sharp=1, noise=0, exposure=0)
    scene, front = photo[:64, :64], photo[100:164, :64]
    blurred, sharp = blur_scene(rng, scene, front, strength)
    np.testing.assert_allclose(blurred.astype(int), sharp.astype(int), atol=1)


@pytest.mark.parametrize("radius", [0, 0.4, 1.5, 3])
def test_out_of_focus(photo, radius):
    """The area inside the circle, to a tenth of a pixel, is the kernel."""
    picture = (photo[100:140, 100:150] / 255).astype(np.float32)
    tenths = (np.arange(-45, 45) + 0.5) / 10
    inside = np.hypot(*np.meshgrid(tenths, tenths)) < max(radius, 0.5)
    kernel = inside.reshape(9, 10, 9, 10).mean((1, 3))
    expected = ndimage.correlate(
        picture, kernel[..., np.newaxis] / kernel.sum(), mode="mirror"
    )
    np.testing.assert_allclose(
        camera.out_of_focus(picture, radius), expected, atol=0.03
    )


def test_a_scene_out_of_focus(photo, rng):
    """It is so in both pictures, and what is in front is not."""
    scene = photo[100:164, 100:164]
    still = BlurStrength(**{**EXACT, "sharp": 1}, defocus=1, linear_light=0)
    blurred, sharp = blur_scene(rng, scene, None, still)
    np.testing.assert_allclose(blurred.astype(int), sharp.astype(int), atol=1)
    assert _contrast(sharp) < 0.95 * _contrast(scene)
    stripes = np.zeros_like(scene)
    stripes[:, ::2] = 255
    focus = BlurStrength(**EXACT, defocus=1, linear_light=0)
    _, sharp = blur_scene(rng, np.full_like(scene, 128), stripes, focus)
    assert np.abs(np.diff(sharp.astype(int), axis=1)).max() > 200


def _contrast(picture):
    return np.abs(np.diff(picture.astype(int), axis=1)).mean()


@pytest.mark.parametrize(("angle", "axis"), [(0, 1), (np.pi / 2, 0)])
def test_motion_of_known_length(photo, angle, axis):
    """A motion by 16 pixels is almost a box filter of that width."""
    sharp = photo[:96, 100:196].astype("float32") / 255
    expected = ndimage.uniform_filter1d(sharp, 17, axis=axis, mode="mirror")
    blurred = motion_blur(sharp, 16, angle)
    assert blurred.dtype == "float32"
    np.testing.assert_allclose(blurred, expected, atol=1e-3)
    np.testing.assert_allclose(motion_blur(sharp, 0, angle), sharp, atol=1e-6)


def test_the_trail_of_a_light_has_no_gaps():
    sharp = np.zeros((9, 160, 3), np.float32)
    sharp[4, 80] = 1
    trail = motion_blur(sharp, 120, 0)[4, 22:139, 0]
    np.testing.assert_allclose(trail, 1 / 120, rtol=0.1)


def test_motion_blur_of_integers():
    with pytest.raises(ValueError, match=r"dtype uint8.*scene / 255"):
        motion_blur(np.zeros((8, 8, 3), "uint8"), 2, 0)


def test_foreground_covers_a_part(photo, rng):
    scene, front = np.zeros_like(photo[:64, :64]), np.full((64, 64, 3), 255)
    strength = BlurStrength(**EXACT)
    _, sharp = blur_scene(rng, scene, front.astype(np.uint8), strength)
    assert 0.02 < (sharp > 127).mean() < 0.7


def test_path_is_still_in_the_middle(rng):
    lengths = []
    strength = BlurStrength(path_shape=2, path_scale=4.5, curvature=0)
    for _ in range(500):
        path = random_path(rng, strength)
        np.testing.assert_array_equal(path[16], 0)
        lengths.append(np.hypot(*(path[-1, :2] - path[0, :2])))
    # The mean of the gamma distribution.
    assert np.mean(lengths) == pytest.approx(2 * 4.5, rel=0.15)


def test_camera_path():
    """The start and end positions equal those computed by hand."""
    path = camera_path(8, np.pi / 2, bend=0.4, rotation=0.1, tilt=(0.2, 0.3))
    assert path.shape == (33, 6)
    np.testing.assert_array_equal(path[16], 0)
    # Downwards by 8; both ends 0.4 quarters of that to the left.
    expected = [-0.8, 4, 0.05, 0, 0.1, 0.15]
    np.testing.assert_allclose(path[-1], expected, atol=1e-12)
    expected = [-0.8, -4, -0.05, 0, -0.1, -0.15]
    np.testing.assert_allclose(path[0], expected, atol=1e-12)


def test_exposure_changes_both_pictures_alike(photo, rng):
    scene = np.full((32, 32, 3), 100, np.uint8)
    strength = BlurStrength(**{**EXACT, "exposure": 1}, linear_light=1)
    levels = [
        [picture.mean() for picture in blur_scene(rng, scene, None, strength)]
        for _ in range(40)
    ]
    blurred, sharp = np.transpose(levels)
    np.testing.assert_allclose(blurred, sharp, atol=0.5)
    # A stop is a factor of two of the light.
    assert sharp.min() > 100 * 0.5 ** (1 / 2.2) - 1
    assert sharp.max() < 100 * 2 ** (1 / 2.2) + 1
    assert np.ptp(sharp) > 40


def test_noise_grows_with_light(rng):
    deviations = []
    for level in (0, 255):
        picture = np.full((200, 200, 3), level / 255)
        noisy = camera.to_uint8(0.5 * picture + 0.25, 1, 4.0, rng)
        deviations.append(noisy.std())
    # Values of 0.25 and 0.75.
    assert deviations[0] == pytest.approx(4 * np.sqrt(1.75 / 4), rel=0.03)
    assert deviations[1] == pytest.approx(4 * np.sqrt(3.25 / 4), rel=0.03)


def test_jpeg_changes_the_blurred_patch_only(stills_folder):
    still = {"noise": 0, "sharp": 1, "foreground": 0}
    for jpeg in (0, 1):
        source = SyntheticBlur(stills_folder, BlurStrength(jpeg=jpeg, **still))
        blurred, sharp = source.sample(np.random.default_rng(3), 64)
        difference = np.abs(blurred.astype(int) - sharp).mean()
        assert (0.1 < difference < 12) if jpeg else difference < 0.5


@pytest.mark.parametrize("margin", [0, 8])
def test_tilt_moves_opposite_sides_apart(margin):
    """The homography moves a point as computed by hand."""
    path = np.zeros((33, 6))
    path[-1, 4] = 0.1
    still, tilted = homographies(path, np.array([0.0, 1.0]), 64, 100, margin)
    point = np.array([80, 32, 1])
    np.testing.assert_allclose(
        still @ point, [80 - margin, 32 - margin, 1], atol=1e-9
    )
    x, y, scale = tilted @ point
    # x = 50 + 30 / (1 + 0.1 * 30 / 100)
    assert x / scale == pytest.approx(50 + 30 / 1.03 - margin)
    assert y / scale == pytest.approx(32 - margin)


def test_the_margin_only_gives_what_comes_in(photo, rng):
    scene = photo[100:180, 100:180].astype("float32")
    paths = [camera_path(12, 0.7, rotation=0.03)]
    whole, middle = expose([scene], paths)
    inner, inner_middle = expose([scene], paths, margin=16)
    # OpenCV's positions are multiples of 1/32 pixel.
    np.testing.assert_allclose(inner, whole[16:-16, 16:-16], atol=1.0)
    np.testing.assert_allclose(inner_middle, middle[16:-16, 16:-16], atol=0.01)


@pytest.mark.parametrize("shape", [(64, 64), (70, 300), (95, 64)])
def test_small_photographs_are_not_enlarged(tmp_path, rng, shape):
    """Without motion, the sharp patch is a crop of the photograph."""
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    still = {"noise": 0, "sharp": 1, "jpeg": 0, "foreground": 0, "exposure": 0}
    source = SyntheticBlur(tmp_path, BlurStrength(**still))
    _, sharp = source.sample(rng, 64)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (64, 64, 3))
    assert (sharp == windows).all(axis=(-3, -2, -1)).any()


def test_candidates(tmp_path):
    """Patches come from the half of the picture that is not flat."""
    picture = np.full((128, 256, 3), 90, np.uint8)
    picture[:, 128:] = np.random.default_rng(0).integers(0, 255, (128, 128, 1))
    Image.fromarray(picture).save(tmp_path / "half.png")
    flat = []
    for candidates in (1, 12):
        source = SyntheticBlur(tmp_path, BlurStrength(foreground=0), candidates)
        patches = [
            source.patch(0, np.random.default_rng(seed), 32)[1]
            for seed in range(20)
        ]
        flat.append(sum(patch.std() < 10 for patch in patches))
    assert flat[0] >= 5
    assert flat[1] == 0


def test_another_strength_of_the_same_photographs(stills_folder):
    source = SyntheticBlur(stills_folder, candidates=2)
    weak = BlurStrength(path_scale=0.0)
    other = source.with_strength(weak)
    assert other.strength is weak
    assert source.strength == BlurStrength()
    assert (other.paths, other.candidates) == (source.paths, 2)


def test_photograph_smaller_than_the_patch(stills_folder, rng):
    with pytest.raises(ValueError, match=r"jpg is smaller.*260x200 pixels"):
        SyntheticBlur(stills_folder).sample(rng, 201)


@pytest.mark.parametrize(
    "wrong",
    [{"path_scale": -1}, {"noise": "x"}, {"jpeg": 1.5}, {"zoom": math.nan}],
)
def test_impossible_strength(wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}`.*Received"):
        BlurStrength(**wrong)
