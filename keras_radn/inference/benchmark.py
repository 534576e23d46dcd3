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

from keras_radn.inference.deblur import Deblurrer
from keras_radn.inference.network import as_function
from keras_radn.models import RADN, ResidualBaseline, inference_model
from keras_radn.models.cost import count_macs

_PRODUCTS = ("Conv2D", "MatMul", "DepthwiseConv")


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
            products, with nothing between them; `None` if not measured.
        peak_megabytes: resident memory above that of the loaded network, at
            its first image of this size; `None` where there is no `/proc`.
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

    @property
    def ratio(self) -> float:
        """Time to that of the calibration."""
        return self.seconds / self.calibration

    @property
    def overhead(self) -> float | None:
        """Time to that of the network's own convolutions."""
        return self.convolutions and self.seconds / self.convolutions


def measure(*arguments, **keywords) -> Measurement:
    """`measure_here` in a process of its own.

    What one measurement leaves in memory would be missing in the next one.
    """
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), _quiet
    ) as executor:
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
) -> Measurement:
    """Measures a network in its inference form on a random image.

    Large images are done in tiles, as `deblur` does them.

    Args:
        preset: of `RADN` or `ResidualBaseline`; weights are random, which does
            not matter for the time. The baseline has no inference form: it is
            the Keras model.
        width: in pixels.
        height: in pixels.
        dtype: `"float32"` or `"bfloat16"`.
        repetitions: of which the median is taken, after two to warm up.
        convolutions: whether to measure the network's own convolutions alone,
            too. They need the memory of all their inputs at once.

    Raises:
        ValueError: for an unknown preset, and if the convolutions alone are
            asked for where there are tiles, or of the baseline.
    """
    policy = "float32" if dtype == "float32" else f"mixed_{dtype}"
    if preset in RADN.presets:
        model = RADN.from_preset(preset, encoder_weights=None, dtype=policy)
        network = inference_model(model, dtype)
    elif preset in ResidualBaseline.presets:
        model = network = ResidualBaseline.from_preset(preset, dtype=policy)
    else:
        known = (*RADN.presets, *ResidualBaseline.presets)
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
    seconds = median_seconds(*runs, repetitions=repetitions)
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
    )


def calibration(dtype: str) -> Callable[[], tf.Tensor]:
    """A 3x3 convolution of 128 to 128 channels at 640x360."""
    tensors = [
        tf.cast(tf.random.normal(shape), dtype)
        for shape in ([1, 360, 640, 128], [3, 3, 128, 128])
    ]
    return tf.function(lambda: tf.nn.conv2d(*tensors, 1, "SAME"))


def median_seconds(
    *runs: Callable[[], object], repetitions: int = 15
) -> list[float]:
    """Median time of each call, in turns, after two calls to warm up."""
    times = [[] for _ in runs]
    for i in range(repetitions + 2):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if i >= 2:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def peak_megabytes(run: Callable[[], object]) -> float | None:
    """Peak of the resident memory above what it was before the call.

    Returns:
        Megabytes, or `None` where there is no `/proc` of Linux.
    """
    if not os.path.exists("/proc/self/clear_refs"):
        run()
        return None
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


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
    """Constants as constants, which operations may prepare once."""
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
