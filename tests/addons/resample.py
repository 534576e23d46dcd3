"""Samples images with tensorflow-addons, in an environment of its own.

tensorflow-addons cannot be imported beside Keras 3, so `test_addons.py` runs
this file with another Python: `python resample.py CASES.npz RESULTS.npz`.

CASES holds, for every name, `NAME/data` (batch, height, width, channels),
`NAME/warp` (batch, points, 2) as (x, y) in pixels, and `NAME/upstream`
(batch, points, channels), the gradient that arrives at the samples. RESULTS
gets `NAME/samples`, `NAME/data_gradient` and `NAME/warp_gradient`.
"""

import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa


def resample(data, warp, upstream):
    data, warp = tf.constant(data), tf.constant(warp)
    with tf.GradientTape() as tape:
        tape.watch([data, warp])
        samples = tfa.image.resampler(data, warp)
    data_gradient, warp_gradient = tape.gradient(
        samples, [data, warp], output_gradients=tf.constant(upstream)
    )
    return {
        "samples": samples.numpy(),
        "data_gradient": data_gradient.numpy(),
        "warp_gradient": warp_gradient.numpy(),
    }


def main(source, target):
    results = {}
    with np.load(source) as cases:
        for name in sorted({key.split("/")[0] for key in cases.files}):
            arrays = {
                key: cases[f"{name}/{key}"]
                for key in ("data", "warp", "upstream")
            }
            for key, array in resample(**arrays).items():
                results[f"{name}/{key}"] = array
    np.savez(target, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
