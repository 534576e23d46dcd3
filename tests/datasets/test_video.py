import sys

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from keras_radn import datasets
from keras_radn.datasets import (
    BlurStrength,
    JoinedSources,
    SyntheticBlur,
    VideoBlur,
    check_sources,
    video,
)
from keras_radn.datasets.interpolation import average, interpolate, optical_flow

EXACT = BlurStrength(sharp=0, linear_light=0, noise=0, jpeg=0, exposure=0)


def write_video(path, frames, rate=10):
    """Writes a lossless video, except in WebM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, pixels, options = "libx264rgb", "rgb24", {"qp": "0"}
    if path.suffix == ".webm":
        codec, pixels, options = "libvpx", "yuv420p", {"b": "4M"}
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for frame in frames:
            packets = stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24"))
            container.mux(packets)
        container.mux(stream.encode())


def doubled(picture):
    return np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1)


@pytest.fixture
def panning(photo):
    """Returns a pan by 4 pixels a frame; the reduced video moves by 2."""
    smooth = cv2.GaussianBlur(photo, (0, 0), 2)
    return [smooth[100:180, 100 + 2 * i : 228 + 2 * i] for i in range(20)]


@pytest.fixture
def pan_folder(tmp_path, panning):
    write_video(tmp_path / "pan.mkv", [doubled(frame) for frame in panning])
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", video.SUFFIXES)
def test_frames_are_reduced_by_two(tmp_path, panning, suffix):
    path = tmp_path / f"a{suffix}"
    write_video(path, [doubled(frame) for frame in panning])
    seconds, frames = zip(*video.read_frames(path), strict=True)
    assert seconds == (0,) * 10 + (1,) * 10
    difference = np.abs(np.array(frames).astype(int) - panning)
    if suffix == ".webm":
        assert difference.mean() < 4
    else:
        assert difference.max() <= 1


def test_blur_is_the_mean_over_the_exposure(tmp_path, photo):
    """A pan by 2 pixels a frame gives SciPy's mean of shifts."""
    smooth = ndimage.gaussian_filter(photo, (1.5, 1.5, 0))
    pan = [smooth[20:120, 180 + 2 * i : 320 + 2 * i] for i in range(5)]
    write_video(tmp_path / "a.mkv", [doubled(frame) for frame in pan])
    [(frames, flows)] = VideoBlur(tmp_path)._load(0)
    window = np.s_[20:80, 30:110]
    flows = [flow[window].astype(np.float32) for flow in flows]
    values = np.arange(256, dtype=np.float32)
    for exposure in (0, 1.5, 4):
        mean = average(frames, flows, exposure, values, (20, 30))
        moved = [
            ndimage.shift(frames[2].astype(float), (0, dx, 0), order=1)
            for dx in np.linspace(-exposure, exposure, 9)
        ]
        expected = np.mean(moved, axis=0)[window]
        error = np.abs(mean - expected).mean()
        blur = np.abs(frames[2][window] - expected).mean()
        assert error <= 0.1 * blur
        assert blur >= 0.5 * exposure


def test_static_video_has_no_blur(tmp_path, photo):
    frames = [photo[:160, :200]] * 6
    write_video(tmp_path / "static.mp4", frames)
    blurred, sharp = VideoBlur(tmp_path, EXACT).sample(
        np.random.default_rng(0), 64
    )
    np.testing.assert_allclose(blurred.astype(int), sharp, atol=1)
    reduced = cv2.resize(frames[0], None, None, 0.5, 0.5, cv2.INTER_AREA)
    windows = np.lib.stride_tricks.sliding_window_view(reduced, (64, 64, 3))
    distance = np.abs(windows.astype(int) - sharp).max(axis=(-3, -2, -1))
    assert distance.min() <= 1


def test_interpolation_of_a_shift(photo, rng):
    smooth = cv2.GaussianBlur(photo, (0, 0), 2)
    first, second, middle = (
        smooth[100:228, 100 + dx : 260 + dx] for dx in (0, 8, 4)
    )
    flow = optical_flow(first, second).astype(np.float32)
    assert np.median(flow[..., 0]) == pytest.approx(-8, abs=0.1)
    assert np.median(flow[..., 1]) == pytest.approx(0, abs=0.1)
    inside = np.s_[16:-16, 16:-16]
    made = interpolate(first, second, flow, 0.5)
    assert np.abs(made - middle)[inside].mean() < 0.5
    window = interpolate(
        first, second, flow[16:-16, 20:-30], 0.5, None, (16, 20)
    )
    np.testing.assert_array_equal(window, made[16:-16, 20:-30])
    squared = (np.arange(256, dtype=np.float32) / 255) ** 2
    for time, frame in ((0, first), (1, second)):
        made = interpolate(first, second, flow, time, squared)
        np.testing.assert_allclose(made, (frame / 255) ** 2, atol=1e-6)


def test_sharpest_frame_of_each_second(tmp_path, photo):
    picture = photo[:128, :160]
    blurred = cv2.GaussianBlur(picture, (0, 0), 3)
    frames = [blurred] * 30
    for sharpest in (4, 17, 22):
        frames[sharpest] = picture
    write_video(tmp_path / "a.mkv", frames)
    moments = VideoBlur(tmp_path)._load(0)
    reduced = cv2.resize(picture, None, None, 0.5, 0.5, cv2.INTER_AREA)
    assert len(moments) == 3
    for frames, flows in moments:
        assert len(frames) == 5
        assert len(flows) == 4
        assert np.abs(frames[2].astype(int) - reduced).max() <= 1


def test_no_moment_spans_a_cut(tmp_path):
    levels = np.repeat([40, 200, 90], [5, 8, 3])
    write_video(
        tmp_path / "a.mkv",
        [np.full((64, 64, 3), level, np.uint8) for level in levels],
    )
    source = VideoBlur(tmp_path, EXACT)
    values = [
        {int(frame.mean()) for frame in frames} for frames, _ in source._load(0)
    ]
    assert values == [{40}, {200}]
    write_video(
        tmp_path / "a.mkv",
        [np.full((64, 64, 3), 250 * (i % 2), np.uint8) for i in range(9)],
    )
    with pytest.raises(ValueError, match=r"a\.mkv has no 5 frames"):
        VideoBlur(tmp_path).check(0)


def test_the_patch_is_where_the_motion_is(tmp_path, photo):
    """A square moves in the left third of a wide picture."""
    frames = [np.full((96, 480, 3), 100, np.uint8) for _ in range(6)]
    for i, frame in enumerate(frames):
        frame[24:72, 30 + 12 * i : 78 + 12 * i] = photo[100:148, 200:248]
    write_video(tmp_path / "a.mkv", frames)
    source = VideoBlur(tmp_path, EXACT)
    hits = 0
    for seed in range(20):
        blurred, sharp = source.sample(np.random.default_rng(seed), 48)
        hits += np.abs(blurred.astype(int) - sharp).mean() > 1
    # The first of the eight places would hit in about 7 of 20.
    assert hits >= 16


def test_a_sample_is_a_function_of_the_random_state(pan_folder):
    pairs = [
        VideoBlur(pan_folder).sample(np.random.default_rng(seed), 32)
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(pairs[0], pairs[1])
    assert not np.array_equal(pairs[0], pairs[2])
    source = VideoBlur(pan_folder)  # whatever has been drawn before
    source.sample(np.random.default_rng(6), 32)
    np.testing.assert_array_equal(
        source.sample(np.random.default_rng(5), 32), pairs[0]
    )


def test_linear_light_makes_brighter_blur(pan_folder):
    """The mean of intensities exceeds that of values (Jensen)."""
    levels = []
    for share in (0, 1):
        strength = BlurStrength(
            sharp=0, linear_light=share, noise=0, jpeg=0, exposure=0
        )
        blurred, sharp = VideoBlur(pan_folder, strength).sample(
            np.random.default_rng(1), 64
        )
        levels.append((blurred.mean(), sharp.mean()))
    assert levels[1][0] > levels[0][0] + 0.1
    assert levels[1][1] == pytest.approx(levels[0][1], abs=0.01)


def test_memory_bounds_the_moments(pan_folder):
    assert len(VideoBlur(pan_folder)) == 16
    assert len(VideoBlur(pan_folder, seconds=3)) == 3
    assert len(VideoBlur(pan_folder)._load(0)) == 2
    assert len(VideoBlur(pan_folder, seconds=1)._load(0)) == 1
    small = VideoBlur(pan_folder, memory=1)
    assert len(small._load(0)) == 1
    blurred, _ = small.patch(15, np.random.default_rng(0), 32)
    assert blurred.shape == (32, 32, 3)


def test_another_strength_decodes_nothing_again(pan_folder, monkeypatch):
    source = VideoBlur(pan_folder, BlurStrength(jpeg=0, noise=0))
    before, _ = source.patch(0, np.random.default_rng(0), 32)
    monkeypatch.setattr(source, "_read", None)
    still = source.with_strength(BlurStrength(jpeg=0, noise=0, sharp=1))
    blurred, sharp = still.patch(0, np.random.default_rng(0), 32)
    np.testing.assert_allclose(blurred, sharp, atol=1)
    again, _ = source.patch(0, np.random.default_rng(0), 32)
    np.testing.assert_array_equal(again, before)
    joined = JoinedSources([source]).with_strength(still.strength)
    np.testing.assert_allclose(
        *joined.patch(0, np.random.default_rng(0), 32), atol=1
    )


def test_check(pan_folder):
    source = VideoBlur(pan_folder)
    check_sources([source], 80, progress=False)
    with pytest.raises(ValueError, match=r"reduced by 2.*128x80 pixels"):
        source.check(0, 81)
    with pytest.raises(ValueError, match=r"reduced by 2.*128x80 pixels"):
        source.patch(0, np.random.default_rng(0), 81)
    (pan_folder / "text.mp4").write_text("no video")
    (pan_folder / "sound.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match="2 of 48 entries") as caught:
        check_sources([VideoBlur(pan_folder)], 80, progress=False)
    for name in ("text.mp4", "sound.mp4"):
        assert f"{name} is not a readable video" in str(caught.value)


def test_damaged_video(tmp_path, panning):
    path = tmp_path / "a.mp4"
    write_video(path, [doubled(frame) for frame in panning])
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(3000) + data[middle + 3000 :])
    with pytest.raises(ValueError, match=r"a\.mp4 is not a readable video"):
        VideoBlur(tmp_path).check(0)
    path.write_bytes(data[:middle])
    with pytest.raises(ValueError, match=r"a\.mp4 is not a readable video"):
        VideoBlur(tmp_path).check(0)


def test_no_videos(tmp_path):
    with pytest.raises(FileNotFoundError, match="no videos"):
        VideoBlur(tmp_path)


def test_pyav_is_missing(pan_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"keras-radn\[video\]"):
        VideoBlur(pan_folder)


def test_synthetic_source(tmp_path, panning, photo):
    with pytest.raises(FileNotFoundError, match=r"no images .* and no videos"):
        datasets.synthetic_source(tmp_path)
    write_video(tmp_path / "clips" / "a.mkv", [doubled(x) for x in panning])
    assert isinstance(datasets.synthetic_source(tmp_path), VideoBlur)
    Image.fromarray(photo).save(tmp_path / "a.png")
    both = datasets.synthetic_source(tmp_path)
    assert isinstance(both, JoinedSources)
    assert len(both) == 1 + 16
    [(blurred, sharp)] = datasets.synthetic_blur(
        tmp_path, patch_size=32, batch_size=17
    )
    assert blurred.shape == sharp.shape == (17, 32, 32, 3)
    (tmp_path / "clips" / "a.mkv").unlink()
    assert isinstance(datasets.synthetic_source(tmp_path), SyntheticBlur)
