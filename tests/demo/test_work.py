import keras
import matplotlib
import numpy as np
import pytest
from PIL import Image

import keras_radn
from keras_radn.demo.jobs import Job
from keras_radn.demo.work import draw_map, make_work
from keras_radn.pictures.picture import Picture


def test_a_map_has_the_colors_of_its_legend():
    values = np.array([[-9.0, -3.0], [0.0, 3.0]])
    image, legend = draw_map(values, {"cmap": "RdBu_r", "vmin": -3, "vmax": 3})
    colors = [
        [int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in legend["colors"]
    ]
    np.testing.assert_array_equal(image[0, 0], colors[0])
    np.testing.assert_array_equal(image[0, 1], colors[0])
    np.testing.assert_allclose(image[1, 0], colors[len(colors) // 2], atol=1)
    np.testing.assert_array_equal(image[1, 1], colors[-1])
    assert colors[-1] == [
        round(255 * c) for c in matplotlib.colormaps["RdBu_r"](1.0)[:3]
    ]
    assert (legend["low"], legend["high"]) == (-3, 3)


def test_a_network_that_diverged(photo, tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Rescaling(np.nan)(images))
    job = Job(Picture(photo[:16, :16]), "a.png", False, False, tmp_path)
    with pytest.raises(ValueError, match="NaN or infinite pixels"):
        make_work(model)(job)
    assert {path.name for path in tmp_path.iterdir()} == {"before.png"}


@pytest.mark.slow
def test_a_large_picture_gets_maps_of_a_reduced_one(
    tiny_radn, photo, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "keras_radn.demo.work.affordable_pixels", lambda: 32 * 48
    )
    job = Job(Picture(photo[:64, :96]), "a.png", False, False, tmp_path)
    make_work(tiny_radn())(job)
    assert set(job.maps) == {"offsets", "attention"}
    assert all(m["width"] == 48 for m in job.maps.values())
    with Image.open(tmp_path / "offsets.png") as image:
        assert image.size == (48, 32)
    with Image.open(tmp_path / "deblurred.png") as image:
        assert image.size == (96, 64)


@pytest.mark.slow
def test_a_network_without_offsets_and_attention_has_no_maps(photo, tmp_path):
    model = keras_radn.ResidualBaseline(deformable_layers=0)
    job = Job(Picture(photo[:16, :16]), "a.png", False, False, tmp_path)
    make_work(model)(job)
    assert job.maps == {}
    assert (tmp_path / "deblurred.png").is_file()
