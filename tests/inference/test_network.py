import numpy as np

from keras_radn.inference.network import self_ensemble


def test_self_ensemble_is_the_mean_of_eight_orientations(rng):
    """With a network that shifts the image by one row."""
    image = rng.random((6, 6, 3)).astype("float32")
    # Each of the four directions comes twice.
    expected = sum(
        np.roll(image, shift, axis) for axis in (0, 1) for shift in (1, -1)
    )
    np.testing.assert_allclose(
        self_ensemble(lambda x: np.roll(x, 1, axis=0), image),
        expected / 4,
        rtol=1e-6,
    )
