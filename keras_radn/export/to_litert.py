import os
import re
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_radn.export.network import (
    Exported,
    compare,
    in_float32,
    picture_function,
    require_new_file,
)
from keras_radn.files import written_beside
from keras_radn.pictures.pixels import white
from keras_radn.pictures.reading import read_picture
from keras_radn.system.stderr import without_messages

# Least PSNR in dB against the model.
PRECISIONS = {"float32": 60, "float16": 50, "dynamic": 40, "int8": 35}
_INT8_OPS = ("CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED")
# But for the first convolution, which sees the picture, and the last two, which
# write it: more than 11 dB for a few percent of the products.
_INT8_NAMES = "^(?!.*(stem_conv|decoder_up4|reconstruction))"
# Pictures for a network of any size are cropped to this side.
_CALIBRATION_SIDE = 256


def litert(
    model: keras.Model,
    path: str | os.PathLike,
    precision: str = "float32",
    size: tuple[int, int] | None = None,
    calibration: str | os.PathLike | Iterable[np.ndarray] | None = None,
    force: bool = False,
) -> Exported:
    """Writes a network as a LiteRT (TensorFlow Lite) file.

    It has one signature, `serving_default`: `images`, float32 `(1, H, W, 3)`
    in [0, 1], to `deblurred` of the same shape, clipped to [0, 1]. All of its
    operations are built into LiteRT. Networks in half precision are written
    from their float32 weights.

    Args:
        model: a network of this package.
        path: the file, ending in `.tflite`.
        precision: one of
            - `"float32"`;
            - `"float16"`: weights of 16 bits, half the size;
            - `"dynamic"`: weights of 8 bits, products of 8 bits where the
              runtime has them, all else in float32. Give a `size`: without
              one it was many times slower than float32;
            - `"int8"`: weights (per channel) and activations of 8 bits in
              all convolutions and matrix products; what has few operations
              and needs precision (where to sample, attention's softmax, the
              sum with the blurred image) stays float32, as input and output.
        size: `(height, width)`; `None` is any size, for which the runtime
            allocates anew when the size changes.
        calibration: for `"int8"`: a folder of pictures, or arrays `(height,
            width, 3)` of uint8 or of floats in [0, 1], like those that will
            be deblurred. Their middles are used, of 256x256 or of `size`. A
            hundred are plenty.
        force: whether an existing file is replaced.

    Returns:
        The file, and how the answer of the LiteRT runtime compares with the
        model's.

    Raises:
        FileExistsError: if there is such a file and not `force`.
        ValueError: if an argument is out of range, a calibration picture is
            unreadable or smaller than `size`, the model maps no images to
            images, LiteRT lacks an operation, or the PSNR against the model
            is below 60, 50, 40 or 35 dB for the four precisions; nothing is
            left then.
        ImportError: if `ai-edge-litert` or `ai-edge-quantizer` is missing.
        OSError: if the file cannot be written.

    Example:

    ```python
    from keras_radn import RADN, export

    model = RADN(pretrained=True)
    export.litert(
        model, "radn.tflite", "int8", size=(256, 256), calibration="photos"
    )
    ```
    """
    # Here, for these packages are an extra.
    try:
        from ai_edge_litert import interpreter
        from ai_edge_quantizer import quantizer  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Exporting to LiteRT needs ai-edge-litert and ai-edge-quantizer: "
            "pip install 'keras-radn[litert]'"
        ) from error
    if precision not in PRECISIONS:
        raise ValueError(
            f"`precision` must be one of {tuple(PRECISIONS)}. "
            f"Received: {precision!r}"
        )
    if (calibration is not None) != (precision == "int8"):
        raise ValueError(
            'Calibration pictures are needed for precision="int8", and only '
            f"there. Received: precision={precision!r}, calibration="
            f"{'None' if calibration is None else 'pictures'}"
        )
    path = require_new_file(path, ".tflite", force)
    model = in_float32(model)
    sides = _sides(model, size)
    if precision == "int8":  # before the work
        pictures = _calibration_pictures(calibration, sides)
    content = _convert(path, model, precision, sides)
    if precision == "int8":
        content = _quantize(content, pictures)
    require_built_in_ops(content)

    with without_messages():
        runner = interpreter.Interpreter(
            model_content=content, num_threads=os.cpu_count()
        ).get_signature_runner("serving_default")

    any_size = " with any size; give one" if None in sides else ""

    def run(images):
        try:
            return runner(images=images)["deblurred"]
        except RuntimeError as error:  # of a delegate, at the first picture
            raise ValueError(
                f"{path}: LiteRT does not run this network in {precision}"
                f"{any_size}: {error}"
            ) from error

    exported = compare(
        path,
        model,
        run,
        size=sides,
        least_psnr=PRECISIONS[precision],
    )
    with written_beside(path) as partial:
        partial.write_bytes(content)
    return exported


def require_built_in_ops(content: bytes) -> None:
    """Raises ValueError if a LiteRT model needs more than its own ops.

    Flex ops, which need TensorFlow on the phone, are custom ops by name.
    """
    from ai_edge_litert import schema_py_generated as schema

    codes = schema.ModelT.InitFromPackedBuf(content).operatorCodes
    custom = [
        code.customCode.decode()
        for code in codes
        if code.builtinCode == schema.BuiltinOperator.CUSTOM
    ]
    if custom:
        raise ValueError(
            "A LiteRT model may have built-in operations only. Received: "
            f"{', '.join(custom)}"
        )


def _sides(model, size):
    _, *sides, _ = model.inputs[0].shape
    if size is None:
        return sides
    if len(size) != 2 or any(int(n) != n or n < 1 for n in size):
        raise ValueError(
            f"`size` must be a positive height and width. Received: {size}"
        )
    if any(n not in (None, m) for n, m in zip(sides, size, strict=True)):
        raise ValueError(
            f"`size` is fixed by the model to {tuple(sides)}. Received: {size}"
        )
    return [int(n) for n in size]


def _convert(path, model, precision, sides):
    deblur = picture_function(model, loops=False)
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serving_default",
        lambda images: {"deblurred": deblur.python_function(images)},
        [tf.TensorSpec([1, *sides, 3], tf.float32, "images")],
    )
    with tempfile.TemporaryDirectory() as folder, without_messages():
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision in ("float16", "dynamic"):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            return converter.convert()
        except Exception as error:  # its class has no public name
            found = re.findall(r"'tf\.(\w+)' op is neither", str(error))
            if not found:
                raise
    raise ValueError(
        f"{path}: LiteRT has no operation for what this network needs"
        f"{' for images of any size; give a size' if None in sides else ''}. "
        f"Received: {', '.join(sorted(set(found)))}"
    )


def _quantize(content, pictures):
    """Quantizes the operations in `_INT8_OPS` to 8 bits.

    By the quantizer that succeeds TensorFlow's: TensorFlow's would also take
    coordinates and bilinear weights to 8 bits, which some of LiteRT's kernels
    refuse.
    """
    from ai_edge_quantizer import quantizer

    work = quantizer.Quantizer(content)
    for operation in _INT8_OPS:
        work.add_static_config(
            _INT8_NAMES, operation, activation_num_bits=8, weight_num_bits=8
        )
    feeds = [{"images": picture} for picture in pictures]
    with warnings.catch_warnings(), without_messages():
        # The calibration keeps all tensors, and LiteRT warns of the memory.
        warnings.filterwarnings("ignore", ".*preserve_all_tensors")
        ranges = work.calibrate({"serving_default": feeds})
        result = work.quantize(
            ranges, enable_progress_bar=False, enable_progress_report=False
        )
    return bytes(result.quantized_model)


def _calibration_pictures(calibration, sides):
    """Middles of pictures, float32 `(1, height, width, 3)` in [0, 1]."""
    if isinstance(calibration, str | os.PathLike):
        folder = Path(calibration)
        suffixes = Image.registered_extensions()
        files = sorted(
            p for p in folder.rglob("*") if p.suffix.lower() in suffixes
        )
        if not files:
            raise ValueError(f"{folder}: there are no pictures in it.")
        named = ((f, _rgb(read_picture(f).pixels)) for f in files)
    else:
        named = ((f"Picture {i}", x) for i, x in enumerate(calibration))
    pictures = [_middle(name, array, sides) for name, array in named]
    if not pictures:
        raise ValueError("There are no calibration pictures.")
    return pictures


def _rgb(pixels):
    """RGB in [0, 1] of a picture's pixels."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=-1)
    return pixels / np.float32(white(pixels.dtype))


def _middle(name, array, sides):
    array = np.asarray(array)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(
            f"{name}: a calibration picture must have the shape (height, "
            f"width, 3). Received: shape {array.shape}"
        )
    if array.dtype == np.uint8:
        array = array.astype("float32") / white(array.dtype)
    elif not np.issubdtype(array.dtype, np.floating) or not (
        array.min() >= 0 and array.max() <= 1
    ):
        raise ValueError(
            f"{name}: a calibration picture must be uint8 or of floats in "
            f"[0, 1]. Received: dtype {array.dtype}"
        )
    window = []
    for size, side in zip(array.shape[:2], sides, strict=True):
        wanted = side or min(size, _CALIBRATION_SIDE)
        if size < wanted:
            raise ValueError(
                f"{name}: is smaller than the {sides[1]}x{sides[0]} pixels of "
                "the network; leave it out or enlarge it."
            )
        start = (size - wanted) // 2
        window.append(slice(start, start + wanted))
    return array[*window][np.newaxis].astype("float32")
