"""Time and memory of networks, as ratios to a convolution in the same run."""

import concurrent.futures
import dataclasses
import functools
import inspect
import logging
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_radn.inference.deblurrer import Deblurrer
from keras_radn.inference.network import as_function
from keras_radn.keras_setup import import_keras
from keras_radn.models import RADN, ResidualBaseline, inference_model
from keras_radn.models.cost import count_macs
from keras_radn.peers import PRESETS as PEERS

_PRODUCTS = ("Conv2D", "MatMul", "DepthwiseConv")

# The calibration is a 3x3 convolution of 128 to 128 channels at 640x360.
_CALIBRATION_ROWS = 360


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A network on an image, by the median of some runs.

    Attributes:
        preset: name of the variant.
        width: of the image in pixels.
        height: of the image in pixels.
        dtype: `"float32"` or `"bfloat16"`.
        parameters: of the network.
        gmacs: multiply-accumulates in 10^9, of all tiles.
        tiles: number of tiles that the image is done in.
        seconds: for the image.
        calibration: seconds of a plain 3x3 convolution, 128 to 128 channels
            at 640x360, in the same dtype and run.
        convolutions: seconds of the network's own convolutions and matrix
            products in TensorFlow's ops, with nothing between them; `None` if
            not measured.
        peak_megabytes: memory above that of the loaded network, at its first
            image of this size: of the GPU, or else what is resident; `None`
            where there is no `/proc`.
        device: on which it ran.
    """

    preset: str
    width: int
    height: int
    dtype: str
    parameters: int
    gmacs: float
    tiles: int
    seconds: float
    calibration: float
    convolutions: float | None
    peak_megabytes: float | None
    device: str

    @property
    def ratio(self) -> float:
        """Time to that of the calibration."""
        return self.seconds / self.calibration

    @property
    def share(self) -> float:
        """MACs per second to those of the calibration."""
        return self.gmacs / calibration_gmacs() / self.ratio

    @property
    def overhead(self) -> float | None:
        """Time to that of the network's own convolutions."""
        return self.convolutions and self.seconds / self.convolutions


def measure(*arguments, **keywords) -> Measurement:
    """Runs `measure_here` in a process of its own.

    What one measurement leaves in memory would be missing in the next one.
    """
    with concurrent.futures.ProcessPoolExecutor(
        # Before this module, which imports TensorFlow with all its messages.
        1,
        multiprocessing.get_context("spawn"),
        import_keras,
    ) as executor:
        executor.submit(_quiet)
        return executor.submit(measure_here, *arguments, **keywords).result()


def _quiet():
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def measure_here(
    preset: str,
    width: int,
    height: int,
    dtype: str = "float32",
    repetitions: int = 7,
    convolutions: bool = False,
    warm_ups: int = 2,
) -> Measurement:
    """Measures a network in its inference form on a random image.

    Large images are done in tiles, as `deblur` does them.

    Args:
        preset: of `RADN`, `ResidualBaseline` or `keras_radn.peers`; weights are
            random, which does not matter for the time. Only RADN has an
            inference form: others are the Keras model.
        width: in pixels.
        height: in pixels.
        dtype: `"float32"` or `"bfloat16"`.
        repetitions: runs, whose median is taken.
        convolutions: whether to measure the network's own convolutions alone,
            too. They need the memory of all their inputs at once.
        warm_ups: calls before those that count, beside the one whose memory is
            measured.

    Raises:
        ValueError: for an unknown preset, and if the convolutions alone are
            asked for where there are tiles, or of another network than RADN.
    """
    policy = "float32" if dtype == "float32" else f"mixed_{dtype}"
    if preset in RADN.presets:
        model = RADN.from_preset(preset, load_weights=False, dtype=policy)
        network = inference_model(model, dtype)
    elif preset in ResidualBaseline.presets:
        model = network = ResidualBaseline.from_preset(preset, dtype=policy)
    elif preset in PEERS:
        model = network = PEERS[preset].from_preset(preset, dtype=policy)
    else:
        known = (*RADN.presets, *ResidualBaseline.presets, *PEERS)
        raise ValueError(f"A preset is one of {known}. Received: {preset!r}")
    image = np.random.default_rng(0).random((height, width, 3), "float32")
    deblurrer = Deblurrer(network)
    grid = deblurrer.grid(height, width)
    tiles, tile, function = 1, (height, width), as_function(network)
    if len(grid) > 1:
        tiles, tile = len(grid), (grid.rows.tile, grid.columns.tile)
        function = deblurrer
    run = functools.partial(function, image)
    if convolutions and (tiles > 1 or preset not in RADN.presets):
        raise ValueError(
            "The convolutions alone are measured of an inference form and of "
            f"an image without tiles. Received: {preset}, {width}x{height}"
        )
    # All is loaded and traced before memory is measured.
    function(image[:64, :64])
    peak = peak_megabytes(run)
    runs = [run, calibration(dtype)]
    if convolutions:
        runs.append(alone_of(products_of(network.graph(height, width))))
    seconds = median_seconds(*runs, repetitions=repetitions, warm_ups=warm_ups)
    return Measurement(
        preset=preset,
        width=width,
        height=height,
        dtype=dtype,
        parameters=model.count_params(),
        gmacs=tiles * count_macs(model, *tile) / 1e9,
        tiles=tiles,
        seconds=seconds[0],
        calibration=seconds[1],
        convolutions=seconds[2] if convolutions else None,
        peak_megabytes=peak,
        device=device_name(),
    )


def device_name() -> str:
    """What TensorFlow computes on: the first GPU's name, or `"CPU"`."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", "GPU")


def calibration_gmacs(rows: int = _CALIBRATION_ROWS) -> float:
    """Multiply-accumulates of the calibration in 10^9."""
    return rows * 640 * 9 * 128 * 128 / 1e9


def calibration(
    dtype: str, rows: int = _CALIBRATION_ROWS
) -> Callable[[], tf.Tensor]:
    """A 3x3 convolution of 128 to 128 channels at 640x360, or other rows."""
    tensors = [
        tf.cast(tf.random.normal(shape), dtype)
        for shape in ([1, rows, 640, 128], [3, 3, 128, 128])
    ]
    return tf.function(lambda: tf.nn.conv2d(*tensors, 1, "SAME"))


def median_seconds(
    *runs: Callable[[], object], repetitions: int = 15, warm_ups: int = 2
) -> list[float]:
    """Median time of each call, in turns, after some calls to warm up.

    A call ends when all devices have done its work.
    """
    times = [[] for _ in runs]
    for i in range(repetitions + warm_ups):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            # A GPU has only been told what to do.
            tf.test.experimental.sync_devices()
            if i >= warm_ups:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def peak_megabytes(run: Callable[[], object]) -> float | None:
    """Peak of the memory above what it was before the call.

    Returns:
        Megabytes of the first GPU, if there is one; else of the process'
        resident memory, or `None` where there is no `/proc` of Linux.
    """
    if tf.config.list_physical_devices("GPU"):
        return _peak_megabytes_of_gpu(run)
    if not os.path.exists("/proc/self/clear_refs"):
        run()
        return None
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _peak_megabytes_of_gpu(run):
    memory = tf.config.experimental
    memory.reset_memory_stats("GPU:0")
    before = memory.get_memory_info("GPU:0")["current"]
    run()
    tf.test.experimental.sync_devices()
    return (memory.get_memory_info("GPU:0")["peak"] - before) / 2**20


def _status(key):
    with open("/proc/self/status") as lines:
        return next(int(x.split()[1]) for x in lines if x.startswith(key))


def products_of(graph: tf.Graph) -> list[tf.Operation]:
    """The convolutions and matrix products of a graph."""
    if graph.as_graph_def().library.function:
        raise ValueError("Operations inside of functions are not counted.")
    return [op for op in graph.get_operations() if is_product(op.type)]


def is_product(kind: str) -> bool:
    """Whether an operation is a convolution or matrix product."""
    return any(name in kind for name in _PRODUCTS)


def gigaflop(op: tf.Operation) -> float:
    """Cost of a product, a multiplication and an addition being two."""
    first, second, output = (t.shape for t in (*op.inputs[:2], op.outputs[0]))
    if "MatMul" in op.type:
        transposed = "adj_x" if "Batch" in op.type else "transpose_a"
        inner = first[-2 if op.get_attr(transposed) else -1]
        return 2e-9 * output.num_elements() * inner
    kernel, values = second, output
    if "Backprop" in op.type:
        kernel = output if op.type.endswith("Filter") else second
        values = op.inputs[2].shape
    depth = 2 if "Depthwise" in op.type else 3
    return 2e-9 * values.num_elements() * math.prod(kernel[:depth])


def alone_of(products: list[tf.Operation]):
    """A call that runs the products on random tensors, and nothing else."""
    arguments = [
        [random_input(op, tensor) for tensor in op.inputs] for op in products
    ]

    @tf.function
    def run():
        outputs = [
            again(op, list(map(_as_in_the_graph, op.inputs, tensors)))
            for op, tensors in zip(products, arguments, strict=True)
        ]
        # Without a result that depends on it, an operation would not run.
        return [tf.reshape(output, [-1])[0] for output in outputs]

    return run


def _as_in_the_graph(tensor, value):
    """Keeps constants constants, which operations may prepare once."""
    return tf.constant(value.numpy()) if tensor.op.type == "Const" else value


def random_input(op: tf.Operation, tensor: tf.Tensor) -> tf.Tensor:
    """A tensor to put in the place of an operation's input."""
    if tensor.dtype.is_integer:  # sizes, of what the operation computes
        return tf.constant(op.outputs[0].shape.as_list())
    return tf.cast(tf.random.normal(tensor.shape), tensor.dtype)


def again(op: tf.Operation, tensors: list[tf.Tensor]) -> tf.Tensor:
    """The same operation on other tensors."""
    function = getattr(tf.raw_ops, op.type)
    names = [argument.name for argument in op.op_def.input_arg]
    inputs = dict(zip(names, tensors, strict=True))
    attributes = {
        name: op.get_attr(name)
        for name in inspect.signature(function).parameters
        if name not in (*inputs, "name")
    }
    return function(**inputs, **attributes)
