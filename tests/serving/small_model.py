"""Tiny SavedModels, for tests of the server itself.

`python -m tests.serving.small_model FOLDER` writes what the conformance tests
need, so that another server can be tested: see `endpoint`.
"""

import sys
from pathlib import Path

import tensorflow as tf

from tests.serving.example_models import (
    half_plus_three,
    half_plus_two,
    write_signatures,
)


def _input(dtype, *shape, name):
    return tf.TensorSpec([None, *shape], dtype, name=name)


class SmallModel(tf.Module):
    """Has signatures like a network's, and others for the protocol."""

    def __init__(self, factor):
        self.factor = tf.Variable(float(factor))

    @tf.function(
        input_signature=[_input(tf.float32, None, None, 3, name="images")]
    )
    def serving_default(self, images):
        return {"deblurred": images * self.factor}

    @tf.function(input_signature=[_input(tf.string, name="image_bytes")])
    def image_bytes(self, image_bytes):
        def invert(data):
            image = tf.io.decode_image(data, 3, expand_animations=False)
            return tf.io.encode_png(255 - image)

        return {
            "deblurred_bytes": tf.map_fn(
                invert, image_bytes, fn_output_signature=tf.string
            )
        }

    @tf.function(
        input_signature=[
            _input(tf.string, name="tag"),
            _input(tf.int64, None, name="signal"),
            _input(tf.float32, 2, name="sensor"),
        ]
    )
    def named(self, tag, signal, sensor):
        return {
            "tag": tag,
            "total": tf.reduce_sum(signal, axis=1),
            "sensor": sensor / 2,
        }

    @tf.function(
        input_signature=[
            _input(tf.uint8, name="small"),
            _input(tf.bool, name="flag"),
            _input(tf.float64, name="exact"),
        ]
    )
    def dtypes(self, small, flag, exact):
        return {
            "small": small,
            "flag": flag,
            "exact": exact,
            "half": tf.cast(exact, tf.float16),
        }

    @tf.function(input_signature=[_input(tf.float32, name="x")])
    def ragged(self, x):
        return {"x": x, "first": x[:1]}

    @tf.function(input_signature=[_input(tf.float32, name="seconds")])
    def busy(self, seconds):
        """Takes as many seconds as the first element says."""
        end = tf.timestamp() + tf.cast(seconds[0], tf.float64)
        (count,) = tf.while_loop(
            lambda _: tf.timestamp() < end, lambda n: (n + 1,), (0,)
        )
        with tf.control_dependencies([count]):
            return {"seconds": tf.identity(seconds)}


def write_version(base, version, factor):
    model = SmallModel(factor)
    path = Path(base) / str(version)
    names = ("image_bytes", "named", "dtypes", "ragged", "busy")
    signatures = {name: getattr(model, name) for name in names}
    signatures["serving_default"] = model.serving_default
    tf.saved_model.save(model, str(path), signatures=signatures)
    return path


def write_models(folder):
    """Writes models and their configuration; returns its path.

    There are two versions of "small", with labels, and the models of
    `example_models`, one of which is also served under a second name.
    """
    folder = Path(folder).absolute()
    base = folder / "small"
    write_version(base, 1, 0.5)
    write_version(base, 2, 2)
    write_signatures(folder / "two" / "123", half_plus_two)
    write_signatures(folder / "three" / "123", half_plus_three)
    config = folder / "models.config"
    config.write_text(
        f"""model_config_list {{
  config {{
    name: "small"
    base_path: "{base}"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
  config {{
    name: "half_plus_two"
    base_path: "{folder / "two"}"
    model_platform: "tensorflow"
  }}
  config {{
    name: "half_plus_three"
    base_path: "{folder / "three"}"
    model_platform: "tensorflow"
  }}
  config {{
    name: "half/plus:two?"
    base_path: "{folder / "two"}"
    model_platform: "tensorflow"
    version_labels {{ key: "a/b:c" value: 123 }}
  }}
}}
"""
    )
    return config


if __name__ == "__main__":
    print(write_models(sys.argv[1]))
