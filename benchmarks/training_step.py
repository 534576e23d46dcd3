"""Compares a training step of RADN with its convolutions alone.

    python benchmarks/training_step.py [--preset NAME] [--dtype NAME]
                                       [--optimizer adam|muon]

The step is that of `keras_radn.training`, with clipping and averaged weights,
on a batch in memory. The convolutions alone are all convolutions and matrix
products of the step's graph, forward and backward, as TensorFlow's operations
with the same shapes and dtypes but on random tensors and with nothing between
them; the sampling of the deformable ones is left out. The same step without the
compiled operations for training is the third; all are measured in turns.

The roofline of the convolutions is what they need at least: each at the rate of
a plain convolution (3x3, 128 to 128 channels at 640x320) or of copying memory,
whichever takes longer. On a CPU, a profile of the step by the operations' own
time and the speed of the input pipeline follow.
"""

import argparse
import collections
import itertools
import os
import re
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from PIL import Image
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from keras_radn import RADN
from keras_radn.datasets import SyntheticBlur, patch_dataset
from keras_radn.inference.benchmark import (
    alone_of,
    calibration,
    calibration_gmacs,
    device_name,
    gigaflop,
    is_product,
    median_seconds,
    products_of,
)
from keras_radn.models.deblurring_model import paper_recipe
from keras_radn.ops import tracing
from keras_radn.training import TrainingConfig

COPIED_GB = 0.4

# The calibration of `keras-radn benchmark` has 360 rows, for which oneDNN has
# only reference code on processors without AVX-512.
PLAIN_ROWS = 320


def main() -> None:
    """Prints a table each of the times, the profile and the pipeline."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--stills", help="folder of photographs to blur")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        if options.stills is None:
            write_photographs(folder)
        config = TrainingConfig(
            preset=options.preset,
            dtype=options.dtype,
            optimizer=options.optimizer,
            ema_momentum=0.999,
            batch_size=options.batch,
            patch_size=options.size,
            stills=options.stills or folder,
        )
        measure(config, options.repetitions)


def measure(config: TrainingConfig, repetitions: int) -> None:
    """Measures and prints the tables."""
    step = training_step(config)
    step.get_concrete_function()
    with tracing.options(training_ops=False):
        separate = training_step(config)
        products = products_of(separate.get_concrete_function().graph)
    print(f"On {device_name()}.\n")
    print_products(products)
    *seconds, alone, plain, copy = median_seconds(
        step,
        separate,
        alone_of(products),
        calibration(keras.DTypePolicy(config.dtype).compute_dtype, PLAIN_ROWS),
        copying(),
        repetitions=repetitions,
    )
    print("| operations | dtype | images/s | step, s | step / convolutions |")
    print("|---|---|---:|---:|---:|")
    for name, each in zip(("as it is", "TensorFlow's"), seconds, strict=True):
        print(
            f"| {name} | {config.dtype} | {config.batch_size / each:.1f} | "
            f"{each:.2f} | {each / alone:.2f} |"
        )
    print(f"\nIts convolutions alone take {alone:.2f} s.\n", flush=True)
    print_roofline(
        products,
        2 * calibration_gmacs(PLAIN_ROWS) / plain,
        COPIED_GB / copy,
        alone,
        seconds[0],
    )
    speed = config.batch_size / seconds[0]
    # On a GPU it would show how long the host takes to start the operations.
    if device_name() == "CPU":
        print_profile(step)
    pipeline = pipeline_speed(config)
    print("| pipeline alone, patches/s | to what the step consumes |")
    print("|---:|---:|")
    print(f"| {pipeline:.0f} | {pipeline / speed:.1f} |")


def training_step(config: TrainingConfig):
    """Returns a training step on a batch in memory, as a `tf.function`."""
    model = RADN.from_preset(
        config.preset, load_weights=False, dtype=config.dtype
    )
    optimizer = config.make_optimizer(config.learning_rate)
    model.compile(**{**paper_recipe(), "optimizer": optimizer})
    optimizer.build(model.trainable_variables)
    size = config.patch_size
    shape = (2, config.batch_size, size, size, 3)
    blurred, sharp = tf.random.uniform(shape)
    return tf.function(lambda: model.train_step((blurred, sharp)))


def print_products(products: list[tf.Operation]) -> None:
    """Prints number, dtypes and GFLOP of each kind of operation."""
    groups = collections.defaultdict(list)
    for op in products:
        groups[op.type, op.outputs[0].dtype.name].append(gigaflop(op))
    print("| operation | dtype | number | GFLOP |")
    print("|---|---|---:|---:|")
    for (kind, dtype), costs in groups.items():
        print(f"| {kind} | {dtype} | {len(costs)} | {sum(costs):.1f} |")
    print(f"| all | | {len(products)} | {sum(map(gigaflop, products)):.1f} |\n")


def print_roofline(
    products: list[tf.Operation],
    gigaflops: float,
    gigabytes: float,
    alone: float,
    step: float,
) -> None:
    """Prints what the products need at least, at rates per second."""
    at_rate = [gigaflop(op) / gigaflops for op in products]
    moved = [
        sum(map(size_in_gb, (*op.inputs, *op.outputs))) / gigabytes
        for op in products
    ]
    least = sum(map(max, at_rate, moved))
    print("| plain convolution, GFLOP/s | copying, GB/s | products at these |")
    print("|---:|---:|---:|")
    print(f"| {gigaflops:.0f} | {gigabytes:.1f} | {least:.2f} s |\n")
    print("| by FLOP alone | alone / roofline | step / roofline |")
    print("|---:|---:|---:|")
    print(
        f"| {sum(at_rate):.2f} s | {alone / least:.2f} | {step / least:.2f} |\n"
    )


def size_in_gb(tensor: tf.Tensor) -> float:
    """Returns the size of a tensor whose shape is known, in 10^9 bytes."""
    return tensor.shape.num_elements() * tensor.dtype.size / 1e9


def copying():
    """Returns a call that reads and writes `COPIED_GB`."""
    source = tf.ones([int(COPIED_GB / 2 * 1e9 / tf.float32.size)])
    return tf.function(lambda: source + 1)


def print_profile(step, steps: int = 3, rows: int = 15) -> None:
    """Prints the operations that take most time."""
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(steps):
                step()
        [path] = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    calls, seconds = collections.Counter(), collections.Counter()
    for plane in space.planes:
        for event in itertools.chain(*(line.events for line in plane.lines)):
            name = plane.event_metadata[event.metadata_id].name
            # Operations are "name:kind", as nothing else is.
            if match := re.fullmatch(r"[^: ]+:([\w>]+)", name):
                calls[match[1]] += 1
                seconds[match[1]] += event.duration_ps / 1e12
    total = sum(seconds.values())
    share = sum(s for kind, s in seconds.items() if is_product(kind)) / total
    print("| operation | calls | ms | share |")
    print("|---|---:|---:|---:|")
    for kind, spent in seconds.most_common(rows):
        print(
            f"| {kind} | {calls[kind] // steps} | {1e3 * spent / steps:.0f} | "
            f"{spent / total:.1%} |"
        )
    number = sum(calls.values()) // steps
    print(f"| all | {number} | {1e3 * total / steps:.0f} | 100% |")
    print(f"| convolutions, matrix products | | | {share:.1%} |\n", flush=True)


def pipeline_speed(config: TrainingConfig) -> float:
    """Returns the patches per second of the input pipeline alone."""
    dataset = patch_dataset(
        [SyntheticBlur(config.stills)],
        [1.0],
        config.patch_size,
        config.batch_size,
    )
    batches = iter(dataset)
    # More at a time than the pipeline keeps ready.
    [seconds] = median_seconds(
        lambda: [next(batches) for _ in range(8)], repetitions=5
    )
    return 8 * config.batch_size / seconds


def write_photographs(folder: str) -> None:
    """Writes scikit-image's color photographs."""
    from skimage import data

    for name in ("astronaut", "chelsea", "coffee"):
        Image.fromarray(getattr(data, name)()).save(f"{folder}/{name}.png")


if __name__ == "__main__":
    main()
