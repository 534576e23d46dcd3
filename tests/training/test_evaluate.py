import keras
import numpy as np
import pytest
from scipy import ndimage
from skimage import data, io, util
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from keras_radn import RADN, Deblurrer, deblur
from keras_radn.datasets import ImagePairs, patch_dataset
from keras_radn.inference import tiling
from keras_radn.metrics import PSNR
from keras_radn.training import CLASSICAL, evaluate_pairs, scores
from tests.conftest import TINY_RADN


def gaussian_ssim(first, second):
    """Computes SSIM per channel over the 11x11 windows inside the image."""
    values = []
    for channel in range(3):
        x, y = (
            image[..., channel].astype("float64") for image in (first, second)
        )

        def mean(image):
            return ndimage.gaussian_filter(image, 1.5, radius=5)

        mx, my = mean(x), mean(y)
        vx, vy = mean(x * x) - mx**2, mean(y * y) - my**2
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        similarity = (
            (2 * mx * my + c1) * (2 * (mean(x * y) - mx * my) + c2)
        ) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
        values.append(similarity[5:-5, 5:-5].mean())
    return np.mean(values)


def test_evaluation_follows_the_protocol(pairs_folder):
    rows = evaluate_pairs(pairs_folder, RADN(**TINY_RADN))
    assert [row["name"] for row in rows] == ["0.png", "1.png"]
    for i, row in enumerate(rows):
        blurred, sharp = ImagePairs(pairs_folder).whole(i)
        expected = peak_signal_noise_ratio(sharp, blurred)
        assert row["blurred_psnr"] == pytest.approx(expected)
        assert row["deblurred_psnr"] == pytest.approx(expected)
        # Wang et al. (2004), written out with SciPy.
        assert row["blurred_ssim"] == pytest.approx(
            gaussian_ssim(blurred, sharp), abs=1e-6
        )
        assert row["deblurred_ssim"] == row["blurred_ssim"]


@pytest.mark.slow
def test_evaluation_of_an_ensemble(pairs_folder, tiny_radn):
    """It measures what `deblur` returns with the same options."""
    model = tiny_radn()
    blurred, sharp = ImagePairs(pairs_folder).whole(0)
    for options in (
        {"multi_scale": True},
        {"ensemble": True, "multi_scale": True},
    ):
        deblurrer = Deblurrer(model, **options)
        result = deblur(blurred, deblurrer)
        row, _ = evaluate_pairs(pairs_folder, deblurrer)
        assert row["deblurred_psnr"] == pytest.approx(
            peak_signal_noise_ratio(sharp, result)
        )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_evaluation_in_a_dtype(dtype, pairs_folder, tiny_radn):
    model = tiny_radn()
    blurred, sharp = ImagePairs(pairs_folder).whole(0)
    deblurrer = Deblurrer(model, dtype=dtype)
    row, _ = evaluate_pairs(pairs_folder, deblurrer)
    result = deblur(blurred, deblurrer)
    expected = peak_signal_noise_ratio(sharp, result)
    assert row["deblurred_psnr"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("multi_scale", [False, True])
def test_images_are_whole_whatever_memory_is_free(
    multi_scale, tmp_path, monkeypatch
):
    """The ensemble of scales would cut 1280x720 differently."""
    monkeypatch.setattr(tiling, "available_bytes", lambda: 2**28)
    image = np.zeros((720, 1280, 3), "uint8")
    for name in ("blur", "sharp"):
        (tmp_path / name).mkdir()
        io.imsave(tmp_path / name / "1.png", image, check_contrast=False)
    seen = set()

    def model(batch):
        seen.add(tuple(batch.shape[1:3]))
        return batch

    options = {"multi_scale": multi_scale}
    evaluate_pairs(tmp_path, Deblurrer(model, **options, tile=None))
    assert (720, 1280) in seen
    assert len(seen) == (4 if multi_scale else 1)
    if not multi_scale:
        seen.clear()
        evaluate_pairs(tmp_path, model)  # the protocol, by default
        assert seen == {(720, 1280)}
    seen.clear()
    evaluate_pairs(tmp_path, Deblurrer(model, **options, tile=256))
    assert (720, 1280) not in seen


@pytest.mark.parametrize("kind", ["random", "photo"])
def test_metrics_equal_scikit_images(kind, rng):
    """The Keras metric agrees, too, on images of 8 bits in [0, 1]."""
    if kind == "random":
        sharp = rng.integers(256, size=(40, 31, 3)).astype("uint8")
    else:
        sharp = data.coffee()[:120, :90]
    image = util.img_as_ubyte(
        np.clip(sharp / 255 + rng.normal(0, 0.05, sharp.shape), 0, 1)
    )
    found = scores(sharp, image)
    psnr = peak_signal_noise_ratio(sharp / 255, image / 255, data_range=1)
    ssim = structural_similarity(
        sharp / 255,
        image / 255,
        channel_axis=-1,
        data_range=1,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    assert found["psnr"] == pytest.approx(psnr, abs=1e-6)
    assert found["ssim"] == pytest.approx(ssim, abs=1e-6)
    metric = PSNR(dtype="float64")
    metric.update_state(sharp[np.newaxis] / 255, image[np.newaxis] / 255)
    assert float(metric.result()) == pytest.approx(psnr, abs=1e-6)


def test_equal_images_have_100_db(photo):
    assert scores(photo, photo) == {"psnr": 100, "ssim": 1}


def test_the_metric_takes_the_weights_of_a_balanced_stream(pairs_folder):
    """It equals NumPy's weighted mean of scikit-image's values."""
    batches = patch_dataset(
        [ImagePairs(pairs_folder)], [1.0], 16, 3, balance=1e-2
    )
    blurred, sharp, weights = next(batches.as_numpy_iterator())
    assert weights.shape == (3, 1, 1)
    model = keras.Sequential([keras.layers.Identity()])
    model.compile(loss="mse", weighted_metrics=[PSNR()])
    result = model.evaluate(
        blurred, sharp, 3, sample_weight=weights, verbose=0, return_dict=True
    )
    psnr = [
        peak_signal_noise_ratio(s, b, data_range=1)
        for s, b in zip(sharp, blurred, strict=True)
    ]
    expected = np.average(psnr, weights=weights[:, 0, 0])
    assert result["psnr"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", sorted(CLASSICAL))
def test_classical_methods_undo_the_blur_that_they_assume(name, tmp_path):
    sharp = data.astronaut()[100:228, 150:310]
    blurred = ndimage.gaussian_filter(sharp.astype("float64"), (1, 1, 0))
    for folder, picture in (("sharp", sharp), ("blur", blurred)):
        (tmp_path / folder).mkdir()
        io.imsave(
            tmp_path / folder / "0.png",
            np.rint(picture).astype("uint8"),
            check_contrast=False,
        )
    (row,) = evaluate_pairs(tmp_path, restore=CLASSICAL[name])
    assert row["deblurred_psnr"] > row["blurred_psnr"] + 0.3
