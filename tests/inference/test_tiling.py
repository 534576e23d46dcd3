import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import RADN, deblur
from keras_radn.inference import Deblurrer, tiling
from keras_radn.layers import ContextAggregation

GIGABYTE = 2**30


@pytest.mark.parametrize("size", [1, 31, 32, 97, 500, 1283, 30_000])
@pytest.mark.parametrize(
    ("tile", "overlap"), [(96, 32), (96, 0), (512, 96), (288, 96), (1024, 32)]
)
def test_an_axis_is_covered(size, tile, overlap):
    axis = tiling.plan_axis(size, tile, overlap)
    assert axis.tile <= tile
    assert axis.starts[0] == 0
    assert size <= axis.starts[-1] + axis.tile < size + 32
    assert not any(start % 32 for start in (*axis.starts, axis.tile))
    steps = np.diff(axis.starts)
    assert (axis.tile - steps >= overlap).all()
    # Weights are a partition of 1, and rise and fall without jumps.
    total = np.zeros(axis.starts[-1] + axis.tile)
    for i, start in enumerate(axis.starts):
        weights = axis.weights(i)
        assert weights.min() >= 0
        if overlap:
            assert np.abs(np.diff(weights)).max() < 2 / overlap
            assert weights[0] < 0.01 or i == 0
            assert weights[-1] < 0.01 or i == len(axis.starts) - 1
        total[start : start + axis.tile] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "pixels"),
    [
        (720, 1280, 2**21),
        (1500, 2000, 2**18),
        (30, 30_000, 2**18),
        (30_000, 30, 2**18),
        (10_000, 10_000, 2**21),
        (1, 1, 1),
        (700, 700, 1),
    ],
)
def test_grid(height, width, pixels):
    grid = tiling.plan_grid(height, width, pixels, overlap=96)
    least = min(-(-height // 32) * 32, 288) * min(-(-width // 32) * 32, 288)
    assert grid.tile_pixels <= max(pixels, least)
    fits = -(-height // 32) * 32 * -(-width // 32) * 32 <= max(pixels, least)
    assert (len(grid) == 1) == fits
    # Overlaps and rounding cost little while tiles are large.
    if pixels == 2**21 and len(grid) > 1:
        assert len(grid) * grid.tile_pixels < 1.2 * height * width


@pytest.mark.parametrize("overlap", [0, 32, 96])
def test_no_grid_is_of_strips(overlap, rng):
    """A side that is cut is at least half as long as the other one."""
    for height, width, pixels in zip(
        *rng.integers(300, 6000, (2, 200)),
        rng.integers(2**19, 2**21, 200),
        strict=True,
    ):
        grid = tiling.plan_grid(height, width, pixels, overlap)
        assert grid.tile_pixels <= pixels
        cut = [a.tile for a in (grid.rows, grid.columns) if len(a.starts) > 1]
        longest = max(grid.rows.tile, grid.columns.tile)
        assert not cut or longest <= 2 * min(cut)


def test_tiles_that_do_not_overlap():
    grid = tiling.plan_grid(3000, 4000, 2**21, overlap=0)
    assert (grid.rows.starts, grid.rows.tile) == ((0, 1504), 1504)
    assert (grid.columns.starts, grid.columns.tile) == ((0, 1312, 2656), 1344)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((200, 333, 3), "uint8"),
        ((200, 333), "uint16"),
        ((333, 200, 1), "float32"),
        ((200, 333, 4), "uint16"),
        ((20, 700, 3), "float16"),
    ],
)
@pytest.mark.parametrize("ensemble", [False, True])
def test_tiles_of_the_identity(shape, dtype, ensemble, rng):
    image = rng.random(shape)
    if dtype.startswith("uint"):
        image = image * np.iinfo(dtype).max
    image = image.astype(dtype)
    seen = []

    def identity(images):
        seen.append(images.shape)
        return images

    calls = []
    result = deblur(
        image,
        Deblurrer(identity, tile=100, overlap=30, ensemble=ensemble),
        progress=lambda *call: calls.append(call),
    )
    assert result.dtype == image.dtype
    np.testing.assert_allclose(
        result.astype(float), image.astype(float), rtol=1e-3, atol=1e-3
    )
    # Equal tiles, so that nothing is compiled again for the last ones.
    assert len(set(seen)) == (2 if ensemble and shape[0] != 333 else 1) or (
        ensemble
    )
    assert max(max(s[1:3]) for s in seen) <= 128
    assert len(seen) > (8 if ensemble else 1)
    assert calls == [(i + 1, len(seen)) for i in range(len(seen))]


def largest_step(image):
    """Returns the largest difference between neighboring pixels."""
    return max(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1))


class HardEdges(tiling.Axis):
    """Cuts tiles at the middles of their overlaps, without a blend."""

    def weights(self, index):
        return np.rint(super().weights(index))


def test_blend_of_tiles_that_differ(monkeypatch):
    """The network's answer depends on the tile, as with attention."""
    answers = []

    def network(images):
        answers.append(np.full_like(images, len(answers) % 2))
        return answers[-1]

    image = np.zeros((500, 30, 3), "float32")
    deblurrer = Deblurrer(network, tile=160, overlap=32)
    blended = deblurrer(image)
    assert len(answers) == 4
    assert 0 < largest_step(blended) < 1.6 / 32
    answers.clear()
    monkeypatch.setattr(tiling, "Axis", HardEdges)
    assert largest_step(deblurrer(image)) == 1


def seam(tiled, whole, grid):
    """Measures how much the difference jumps in the middles of the overlaps.

    Returns:
        The largest jump (root of the mean square) over the median of those in
        its overlap. Farther away a network that looks no farther than the
        overlap has none.
    """
    jumps = []
    for axis, plan in ((0, grid.rows), (1, grid.columns)):
        difference = np.moveaxis(tiled - whole, axis, 0)
        jump = np.sqrt((np.diff(difference, axis=0) ** 2).mean((1, 2)))
        for start in plan.starts[1:]:
            end = plan.starts[plan.starts.index(start) - 1] + plan.tile
            middle = jump[(start + end) // 2 - 1]
            jumps.append(middle / np.median(jump[start:end]))
    return max(jumps)


@pytest.mark.slow
def test_packaged_network_on_a_photograph(photo, monkeypatch):
    """Tiles of at most 512 pixels agree with 1280x720 at once."""
    image = Image.fromarray(photo).resize((1280, 1280)).crop((0, 0, 1280, 720))
    image = np.asarray(image, "float32") / 255
    image = ndimage.uniform_filter1d(image, 11, axis=1)  # something to deblur
    model = RADN(pretrained=True)
    whole = Deblurrer(model, tile=None)(image)
    tiled = Deblurrer(model, tile=512)(image)
    assert peak_signal_noise_ratio(whole, tiled, data_range=1) > 45
    assert peak_signal_noise_ratio(whole, image, data_range=1) < 45
    grid = tiling.square_grid(720, 1280, 512, 96)
    assert len(grid) == 6
    assert seam(tiled, whole, grid) < 2
    monkeypatch.setattr(tiling, "Axis", HardEdges)
    assert seam(Deblurrer(model, tile=512)(image), whole, grid) > 2


@pytest.mark.parametrize(
    ("memory", "low", "high"),
    [
        (100 * GIGABYTE, tiling.MAX_TILE_PIXELS, tiling.MAX_TILE_PIXELS),
        (2 * GIGABYTE, 1e6, tiling.MAX_TILE_PIXELS),
        (GIGABYTE, 5e5, 1e6),
        (0, 0, 0),
    ],
)
def test_size_from_memory(memory, low, high, monkeypatch):
    monkeypatch.setattr(tiling, "available_bytes", lambda: memory)
    assert low <= tiling.affordable_pixels() <= high


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        tf.errors.ResourceExhaustedError(None, None, "OOM"),
    ],
)
@pytest.mark.parametrize("tile", ["auto", None, 512])
def test_smaller_tiles_when_memory_is_full(error, tile, photo):
    sizes = []

    def greedy(images):
        sizes.append(images.shape[1] * images.shape[2])
        if sizes[-1] > 2**17:
            raise error
        return images

    deblurrer = Deblurrer(greedy, tile=tile, overlap=32)
    with pytest.warns(RuntimeWarning, match=r"tiles of 512x512.*going on"):
        result = deblurrer(photo)
    np.testing.assert_array_equal(result, photo)
    assert sizes[0] == 512 * 512
    # The next image begins with what was enough.
    sizes.clear()
    deblurrer(photo)
    assert max(sizes) <= 2**17


def test_a_tile_pools_the_windows_of_the_image(rng):
    """The image's last window has 16 pixels, as at 720 rows."""
    image = rng.random((1, 176, 144, 4), "float32")
    layer = ContextAggregation()
    whole = layer(image)[:, 64:160, 32:128]
    tile = layer(image[:, 64:160, 32:128])
    # The enlargement looks as far as the middle of the next window.
    inner = np.s_[:, 16:-16, 16:-16]
    np.testing.assert_allclose(tile[inner], whole[inner], atol=1e-6)


def test_overlap_of_small_tiles():
    for tile, overlap in ((64, 0), (100, 32), (256, 64), (512, 96)):
        assert Deblurrer(tile=tile).overlap == overlap


def test_not_even_the_smallest_tiles(photo):
    def greedy(images):
        raise MemoryError

    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(ValueError, match=r"not enough memory.*512x512"),
    ):
        deblur(photo, greedy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 0}, "positive"),
        ({"tile": "big"}, "'big'"),
        ({"tile": 1.5}, r"1\.5"),
        ({"overlap": -1}, "at least 0"),
        ({"tile": 100, "overlap": 64}, "third"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Deblurrer(**arguments)


def test_floats_of_few_rows_at_a_time(monkeypatch):
    """Only a band of the image is held as floats."""
    image = np.zeros((3000, 40, 3), np.uint8)
    bands = []
    add = tiling.Blend.add

    def watched(*arguments):
        y, band = add(*arguments)  # there is one column of tiles
        bands.append(len(band))
        return y, band

    monkeypatch.setattr(tiling.Blend, "add", watched)
    Deblurrer(lambda images: images, tile=300, overlap=96)(image)
    assert sum(bands) == 3000
    assert max(bands) <= 320
