import contextlib
import math
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_radn.export.encoded_images import check_size, checked, decode, encode
from keras_radn.export.network import (
    Exported,
    compare,
    made_up_picture,
    picture_function,
)
from keras_radn.files import written_beside

# A graph has no tiles: an image of this size needs 5 GB.
MAX_PIXELS = 6_000_000

# Where TF-Serving looks for warm-up requests.
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_MAX_VERSION = 2**63 - 1
# Odd sides, where the network takes any.
_SIDES = (125, 127)
_TOLERANCE = 1e-4
# In half precision a graph rounds at other places than its single layers.
_HALF_TOLERANCE = 2e-2


def saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    version: int | None = None,
    force: bool = False,
    max_pixels: int = MAX_PIXELS,
    warmup: bool = True,
) -> Exported:
    """Writes a version of a network for TF-Serving.

    The graph holds TensorFlow's own ops only, so that an unmodified server
    loads it. It has two signatures:

    - `serving_default`: `images`, float32 `(N, H, W, 3)` in [0, 1], to
      `deblurred` of the same shape, clipped to [0, 1].
    - `image_bytes`: `image_bytes`, string `(N,)` of JPEG or PNG files whose
      sizes may differ, to `deblurred_bytes`, string `(N,)` of PNG files. They
      are processed one after the other. JPEGs are turned upright as their
      EXIF orientation says; gray stays gray, opacity is kept, of 16 bits per
      channel the upper 8 are; palettes become RGB, all other metadata is
      dropped.

    Images of more than `max_pixels`, empty ones, files that cannot be decoded
    and answers of the network that are not finite are an
    `InvalidArgumentError` for the request.

    Args:
        model: a network of this package.
        path: folder of the versions; made if there is none. The last part of
            it is the model's name in TF-Serving.
        version: positive and at most 2^63 - 1, as in TF-Serving; `None` takes
            the one after the highest that is there.
        force: whether an existing version is replaced.
        max_pixels: the most pixels that an image may have.
        warmup: whether requests are written which TF-Serving sends to itself
            before it says that the version is available. Needs
            `tensorflow-serving-api`.

    Returns:
        The folder of the version, and how the network that was loaded from
        it compares with the model.

    Raises:
        FileExistsError: if there is such a version and not `force`.
        ValueError: if the model maps no images to images, there can be no
            such version, `max_pixels` allows no image, or what was written
            differs from the model by more than 1e-4 (2e-2 in half precision);
            nothing is left then.
        ImportError: if `warmup` and `tensorflow-serving-api` is missing.
        OSError: if the folder cannot be written.

    Example:

    ```python
    from keras_radn import RADN, export

    model = RADN(pretrained=True)
    export.saved_model(model, "models/radn")  # models/radn/1
    ```
    """
    path = Path(path)
    version = _next_version(path) if version is None else version
    if not 1 <= version <= _MAX_VERSION:
        raise ValueError(
            f"`version` must be positive and at most {_MAX_VERSION}. "
            f"Received: {version}"
        )
    target = path / str(version)
    if target.exists() and not force:
        raise FileExistsError(
            f"{target}: exists already; choose another version or use "
            "force=True."
        )
    deblur = picture_function(model, check=_check_answer)
    size = _size(model, max_pixels)
    requests = _warmup_requests(*size) if warmup else None
    archive = keras.export.ExportArchive()
    for name, function, spec in _signatures(deblur, max_pixels):
        archive.add_endpoint(name, function, [spec])
    made = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        with written_beside(target) as partial:
            archive.write_out(str(partial), verbose=False)
            if requests is not None:
                _write_records(partial / WARMUP_FILE, requests)
            exported = _check(partial, target, model, size)
    except BaseException:
        with contextlib.suppress(OSError):  # which would hide the first one
            for folder in made:
                folder.rmdir()
        raise
    return exported


def _next_version(path):
    numbers = [int(p.name) for p in path.glob("*") if p.name.isdecimal()]
    # Servers leave the others out as well.
    versions = [number for number in numbers if number <= _MAX_VERSION]
    return max(versions, default=0) + 1


def _size(model, max_pixels):
    """Height and width of a picture that the network takes."""
    sides = []
    for fixed, side in zip(model.inputs[0].shape[1:3], _SIDES, strict=True):
        sides.append(fixed or max(1, min(side, math.isqrt(max_pixels))))
    if math.prod(sides) > max_pixels:
        raise ValueError(
            f"This network takes pictures of {sides[1]}x{sides[0]}, which are "
            f"more than the {max_pixels} pixels that are allowed; raise "
            "`max_pixels`."
        )
    return tuple(sides)


def _signatures(deblur, max_pixels):
    """Name, function and input of each."""
    spec = deblur.input_signature[0]
    known = {n for n in spec.shape[1:3] if n is not None}

    def serving_default(images):
        count = tf.shape(images)[0]
        images = checked(images, count > 0, "There are no images.")
        images = check_size(images, tf.shape(images)[1:3], max_pixels)
        return {"deblurred": deblur(images)}

    def deblur_encoded(contents):
        colors, opacity = decode(contents, max_pixels)
        if known:
            colors = _require_shape(colors, spec.shape[1:3])
        image = tf.cast(colors, tf.float32) / 255
        channels = tf.shape(image)[2]
        image = tf.repeat(image, 3 // channels, axis=2)
        result = deblur(tf.ensure_shape(image, spec.shape[1:])[tf.newaxis])[0]
        result = tf.cond(
            channels == 1,
            lambda: tf.reduce_mean(result, axis=2, keepdims=True),
            lambda: result,
        )
        return encode(result, opacity)

    def image_bytes(image_bytes):
        # One at a time: two would need twice the memory, and one uses all
        # cores.
        encoded = tf.map_fn(
            deblur_encoded,
            image_bytes,
            fn_output_signature=tf.TensorSpec([], tf.string),
            parallel_iterations=1,
        )
        return {"deblurred_bytes": encoded}

    yield "serving_default", serving_default, spec
    bytes_spec = tf.TensorSpec([spec.shape[0]], tf.string, "image_bytes")
    yield "image_bytes", image_bytes, bytes_spec


def _check_answer(images):
    """Refuses pixels that are not finite, which a picture would show black."""
    return checked(
        images,
        tf.reduce_all(tf.math.is_finite(images)),
        "The network answers with NaN or infinite pixels.",
    )


def _require_shape(image, size):
    """Refuses images of another size than that of a network of fixed size."""
    right = tf.constant(True)
    for axis, expected in enumerate(size):
        if expected is not None:
            right &= tf.shape(image)[axis] == expected
    message = f"This network takes images of {size} (height, width) only."
    return checked(image, right, message)


def graph_ops(folder: str | os.PathLike) -> set[str]:
    """Names of all operations in a SavedModel, those of functions included."""
    message = saved_model_pb2.SavedModel()
    message.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
    ops = set()
    for graph in (meta.graph_def for meta in message.meta_graphs):
        ops.update(node.op for node in graph.node)
        for function in graph.library.function:
            ops.update(node.op for node in function.node_def)
    return ops


def _check(partial, target, model, size):
    # Names of custom ops have a namespace by TensorFlow's convention.
    custom = sorted(op for op in graph_ops(partial) if ">" in op)
    if custom:
        raise ValueError(
            "TF-Serving loads no custom ops. Received: a model with "
            f"{', '.join(custom)}"
        )
    loaded = tf.saved_model.load(str(partial))
    run = loaded.signatures["serving_default"]
    half = model.compute_dtype in ("bfloat16", "float16")
    return compare(
        target,
        model,
        lambda x: run(images=tf.constant(x))["deblurred"].numpy(),
        size,
        max_difference=_HALF_TOLERANCE if half else _TOLERANCE,
    )


def _warmup_requests(height, width):
    """A request for each signature, serialized."""
    records = []
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "Warm-up requests need tensorflow-serving-api: pip install "
            "'keras-radn[serve]', or leave them out with warmup=False."
        ) from error
    image = made_up_picture(height, width)
    encoded = tf.io.encode_png(np.uint8(image[0] * 255)).numpy()
    for signature, name, value in (
        ("serving_default", "images", image),
        ("image_bytes", "image_bytes", np.array([encoded], object)),
    ):
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        log = prediction_log_pb2.PredictLog(request=request)
        record = prediction_log_pb2.PredictionLog(predict_log=log)
        records.append(record.SerializeToString())
    return records


def _write_records(path, records):
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
