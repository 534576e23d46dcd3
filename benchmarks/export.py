"""Compares size, accuracy and speed of an exported network with Keras.

    python benchmarks/export.py [--size 256x256] [--preset NAME | --model FILE]

The photographs are scikit-image's, blurred by this package. PSNR is that of the
worst one against the model itself; times are ratios to Keras with the compiled
op, measured in the same run. int8 is calibrated on other photographs.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from skimage import data

from keras_radn import export
from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.tables import markdown_table
from keras_radn.datasets.blur_synthesis import blur_scene
from keras_radn.inference.benchmark import median_seconds

COLUMNS = {
    "name": ("format", ""),
    "megabytes": ("MB", ".1f"),
    "psnr": ("PSNR, dB", ".1f"),
    "difference": ("largest difference", ".1e"),
    "ratio": ("time / Keras", ".2f"),
}


def main() -> None:
    """Prints a row for each format."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="256x256")
    add_model_arguments(parser)
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    size = height, width

    model = load_model(options)
    images = blurred(("astronaut", "coffee", "chelsea"), size, seed=0)
    calibration = blurred(("rocket", "stereo_motorcycle"), size, seed=1)
    keras_run = tf.function(lambda x: model(x, training=False))
    expected = [np.clip(keras_run(x), 0, 1) for x in images]
    rows, runs = [], [lambda: keras_run(images[0])]
    with tempfile.TemporaryDirectory() as folder:
        for name, path, run in exports(
            model, Path(folder), size, [x[0] for x in calibration]
        ):
            errors = [
                np.abs(run(x) - y)
                for x, y in zip(images, expected, strict=True)
            ]
            mean_square = max(
                np.square(e, dtype="float64").mean() for e in errors
            )
            files = [f for f in [path, *path.rglob("*")] if f.is_file()]
            rows.append(
                {
                    "name": name,
                    "megabytes": sum(f.stat().st_size for f in files) / 1e6,
                    "psnr": -10 * np.log10(mean_square),
                    "difference": max(e.max() for e in errors),
                }
            )
            runs.append(lambda run=run: run(images[0]))
        seconds = median_seconds(*runs, repetitions=options.repetitions)
    for row, time in zip(rows, seconds[1:], strict=True):
        row["ratio"] = time / seconds[0]
    print(f"{options.size}; Keras: {seconds[0]:.2f} s")
    print(markdown_table(rows, COLUMNS))


def blurred(names: tuple[str, ...], size: tuple[int, int], seed: int) -> list:
    """Returns blurred crops of photographs, float32 `(1, height, width, 3)`."""
    rng, pictures = np.random.default_rng(seed), []
    for name in names:
        photo = getattr(data, name)()
        photo = photo[0] if isinstance(photo, tuple) else photo
        window = []
        for n, m in zip(photo.shape, size, strict=False):
            window.append(slice(max(n - m, 0) // 2, max(n - m, 0) // 2 + m))
        picture, _ = blur_scene(rng, np.ascontiguousarray(photo[*window]))
        if picture.shape[:2] != size:
            raise ValueError(f"{name} is smaller than {size}.")
        pictures.append(picture[np.newaxis].astype("float32") / 255)
    return pictures


def exports(model, folder, size, calibration):
    """Returns name, path and function of each format."""
    path = export.saved_model(model, folder / "radn").path
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    signature.root = loaded  # keeps the variables
    yield (
        "SavedModel",
        path,
        lambda x: signature(images=tf.constant(x))["deblurred"].numpy(),
    )
    for deform_conv, name in ((False, "gather"), (True, "DeformConv")):
        path = folder / f"{name}.onnx"
        export.onnx(model, path, deform_conv)
        session = onnxruntime.InferenceSession(path)
        yield (
            f"ONNX, {name}",
            path,
            lambda x, session=session: session.run(None, {"images": x})[0],
        )
    for fixed in (size, None):
        for precision in ("float32", "float16", "dynamic", "int8"):
            path = folder / f"{precision}_{fixed is None}.tflite"
            pictures = calibration if precision == "int8" else None
            export.litert(model, path, precision, fixed, pictures)
            runner = Interpreter(
                str(path), num_threads=os.cpu_count()
            ).get_signature_runner()
            yield (
                f"LiteRT, {precision}, {'fixed' if fixed else 'any'} size",
                path,
                lambda x, runner=runner: runner(images=x)["deblurred"],
            )


if __name__ == "__main__":
    main()
