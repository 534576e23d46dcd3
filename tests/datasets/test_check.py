import numpy as np
import pytest
from PIL import Image

from keras_radn.datasets import (
    ImagePairs,
    JoinedSources,
    SyntheticBlur,
    check_sources,
)
from keras_radn.datasets.image_files import cached_rgb


@pytest.fixture
def sources(stills_folder, pairs_folder):
    return [SyntheticBlur(stills_folder), ImagePairs(pairs_folder)]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize("size", [48, None])
def test_a_good_set_passes(sources, size, capfd):
    cached_rgb.cache_clear()
    check_sources(sources, size, progress=False)
    assert capfd.readouterr() == ("", "")
    # What is read once is not kept.
    assert cached_rgb.cache_info().currsize == 0


def test_progress_is_shown_on_stderr(sources, capfd):
    check_sources(sources, 48)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Checking the data" in err
    assert "100%" in err


def test_all_bad_files_are_named(sources, stills_folder, pairs_folder):
    truncate(stills_folder / "0.jpg")
    (stills_folder / "1.jpg").write_text("no image")
    truncate(pairs_folder / "sharp" / "0.png")
    Image.new("RGB", (70, 47)).save(pairs_folder / "blur" / "1.png")
    with pytest.raises(ValueError, match="4 of 4 entries") as caught:
        check_sources(sources, None, progress=False)
    first, *lines = str(caught.value).splitlines()
    assert "replace or remove" in first
    assert [line.split(" ")[0] for line in lines] == [
        str(path)
        for path in (
            stills_folder / "0.jpg",
            stills_folder / "1.jpg",
            pairs_folder / "sharp" / "0.png",
            pairs_folder / "blur" / "1.png",
        )
    ]
    assert "differ in size: (47, 70) and (48, 70)" in lines[-1]


def test_small_images(sources):
    check_sources(sources, 48, progress=False)
    with pytest.raises(ValueError, match="2 of 4") as caught:
        check_sources(sources, 49, progress=False)
    assert "70x48 pixels for patches of 49" in str(caught.value)


def test_ten_are_named(tmp_path):
    for i in range(12):
        (tmp_path / f"{i:02}.png").write_text("no image")
    with pytest.raises(ValueError, match="12 of 12") as caught:
        check_sources([SyntheticBlur(tmp_path)], 8, progress=False)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert "09.png" in lines[10]
    assert lines[11] == "... and 2 more"


def test_joined_sources(sources, pairs_folder):
    joined = JoinedSources(sources)
    assert len(joined) == 4
    for index, source, own in (
        (0, sources[0], 0),
        (1, sources[0], 1),
        (2, sources[1], 0),
        (3, sources[1], 1),
    ):
        pairs = [
            s.patch(i, np.random.default_rng(5), 32)
            for s, i in ((joined, index), (source, own))
        ]
        np.testing.assert_array_equal(*pairs)
    truncate(pairs_folder / "sharp" / "1.png")
    joined.check(2, 48)
    with pytest.raises(ValueError, match=r"1\.png is not a readable"):
        joined.check(3, 48)
