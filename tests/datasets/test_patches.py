import itertools
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage.metrics import mean_squared_error

from keras_radn.datasets import ImagePairs, SyntheticBlur, patch_dataset


def batches(dataset, count):
    return [
        tuple(part.numpy() for part in batch)
        for batch in itertools.islice(dataset, count)
    ]


def test_pairs_stay_aligned(pairs_folder):
    """Both images of a pair are cropped, flipped and rotated alike."""
    dataset = patch_dataset([ImagePairs(pairs_folder)], [1], 32, 4)
    for blurred, sharp in batches(dataset, 5):
        assert blurred.shape == sharp.shape == (4, 32, 32, 3)
        assert blurred.dtype == np.float32
        assert 0.5 < sharp.max() <= 1
        np.testing.assert_allclose(
            np.rint(255 * blurred), np.rint(255 * sharp) // 2
        )


def test_a_resumed_stream_is_the_rest_of_the_unbroken_one(
    pairs_folder, stills_folder
):
    sources = [SyntheticBlur(stills_folder), ImagePairs(pairs_folder)]
    unbroken = batches(patch_dataset(sources, [0.5, 0.5], 24, 2, seed=3), 5)
    resumed = batches(
        patch_dataset(sources, [0.5, 0.5], 24, 2, seed=3, first_batch=2), 3
    )
    for a, b in zip(unbroken[2:], resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    other = batches(patch_dataset(sources, [0.5, 0.5], 24, 2, seed=4), 1)
    assert not np.array_equal(unbroken[0][0], other[0][0])


def test_balanced_weights(pairs_folder, stills_folder):
    """The weights follow from scikit-image's mean squared errors."""
    sources = [SyntheticBlur(stills_folder), ImagePairs(pairs_folder)]
    dataset = patch_dataset(sources, [0.5, 0.5], 24, 4, balance=0.01)
    for blurred, sharp, weights in batches(dataset, 3):
        assert weights.shape == (4, 1, 1)
        errors = [
            mean_squared_error(*pair)
            for pair in zip(blurred, sharp, strict=True)
        ]
        np.testing.assert_allclose(
            weights[:, 0, 0], 1 / (1 + np.array(errors) / 0.01), rtol=1e-5
        )


def test_replicas_get_the_parts_of_a_batch(stills_folder):
    """Two machines of two devices get four parts, in order."""
    source = SyntheticBlur(stills_folder)
    joint = batches(patch_dataset([source], [1], 24, 8, first_batch=3), 2)
    machines = [
        batches(
            patch_dataset(
                [source],
                [1],
                24,
                8,
                first_batch=3,
                context=tf.distribute.InputContext(2, i, 4),
            ),
            4,
        )
        for i in range(2)
    ]
    for step, (blurred, _) in enumerate(joint):
        parts = [
            machine[2 * step + device][0]
            for machine in machines
            for device in range(2)
        ]
        assert parts[0].shape == (2, 24, 24, 3)
        np.testing.assert_array_equal(np.concatenate(parts), blurred)


def test_bad_shares(pairs_folder):
    pairs = ImagePairs(pairs_folder)
    for sources, shares in (
        ([pairs], [0.5, 0.5]),
        ([pairs], [0.5]),
        ([pairs] * 2, [1.5, -0.5]),
    ):
        with pytest.raises(ValueError, match="add up to 1"):
            patch_dataset(sources, shares)


def test_rounded_shares(pairs_folder):
    sources = [ImagePairs(pairs_folder)] * 3
    dataset = patch_dataset(sources, [0.3333] * 3, 16, 2)
    assert next(iter(dataset))[0].shape == (2, 16, 16, 3)


def test_missing_partner(pairs_folder):
    (pairs_folder / "sharp" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.png is missing"):
        ImagePairs(pairs_folder)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images"):
        ImagePairs(tmp_path)
    with pytest.raises(FileNotFoundError, match="no images"):
        SyntheticBlur(tmp_path)


def test_sizes_of_a_pair_differ(pairs_folder):
    Image.new("RGB", (9, 9)).save(pairs_folder / "sharp" / "0.png")
    with pytest.raises(ValueError, match=r"0\.png differ in size"):
        ImagePairs(pairs_folder).whole(0)


def test_image_smaller_than_the_patch(pairs_folder, rng):
    with pytest.raises(ValueError, match="70x48 pixels for patches of 64"):
        ImagePairs(pairs_folder).sample(rng, 64)


def test_unreadable_image(stills_folder, rng):
    for path in stills_folder.iterdir():
        path.write_text("no image")
    with pytest.raises(ValueError, match="not a readable image"):
        SyntheticBlur(stills_folder).sample(rng, 32)


def orientations(patch):
    return {
        np.ascontiguousarray(side[:, ::-1] if flip else side).tobytes()
        for turn in range(4)
        for flip in (False, True)
        for side in [np.rot90(patch, turn)]
    }


def test_repeated_patches(stills_folder):
    """Each patch appears in several orientations, spread over the stream."""
    stream = patch_dataset(
        [SyntheticBlur(stills_folder)], [1], 24, 4, repeats=2
    )
    blurred = np.concatenate([b for b, _ in batches(stream, 32)])
    assert len({patch.tobytes() for patch in blurred}) == 128
    assert len({min(orientations(patch)) for patch in blurred}) == 64
    for batch in blurred.reshape(32, 4, 24, 24, 3)[:8]:
        assert len({min(orientations(patch)) for patch in batch}) > 1


def test_a_resumed_stream_of_repeated_patches(stills_folder):
    source = SyntheticBlur(stills_folder)

    def stream(first, count):
        dataset = patch_dataset(
            [source], [1], 24, 2, repeats=3, first_batch=first
        )
        return batches(dataset, count)

    for a, b in zip(stream(0, 40)[30:], stream(30, 10), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("repeats", [0, 9, 1.5])
def test_bad_repeats(stills_folder, repeats):
    with pytest.raises(ValueError, match="`repeats` must be an integer from 1"):
        patch_dataset([SyntheticBlur(stills_folder)], [1], repeats=repeats)


def test_reduced_pairs_are_averages_of_pixels(tmp_path, rng):
    """The picture has one color in each block of 2x2 pixels."""
    blocks = rng.integers(0, 256, (16, 16, 3), np.uint8)
    for name in ("blur", "sharp"):
        (tmp_path / name).mkdir()
        whole = np.kron(blocks, np.ones((2, 2, 1), np.uint8))
        Image.fromarray(whole).save(tmp_path / name / "a.png")
    pairs = ImagePairs(tmp_path, reduction=2.0)
    for side in (1.0, 2.0):
        fixed = unittest.mock.Mock(wraps=rng)
        fixed.uniform.return_value = side
        blurred, sharp = pairs.patch(0, fixed, 16)
        assert blurred.shape == (16, 16, 3)
        np.testing.assert_array_equal(blurred, sharp)
    np.testing.assert_array_equal(blurred, blocks)
    with pytest.raises(ValueError, match="`reduction` must be at least 1"):
        ImagePairs(tmp_path, reduction=0.5)
