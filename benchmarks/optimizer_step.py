"""Time of Muon's step, and what else Keras and TensorFlow offer for it.

    python benchmarks/optimizer_step.py [--preset NAME]

The step is that of `keras_radn.training`, with clipping and averaged weights,
on drawn gradients: the compiled operations, as it is; without them, a kernel at
a time; kernels of about one size in one batch, as under JAX; and each of these
compiled by XLA, with Keras's own updates, since XLA knows no fused ones. The
time is that of the processor, of one thread, so that it hardly depends on what
else runs.
"""

import argparse
import os
import time
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from keras_radn import RADN
from keras_radn.ops import backend, tracing
from keras_radn.optimizers import ConvMuon


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="lite")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = RADN.from_preset(
        options.preset, load_weights=False, encoder_weights=None
    )
    print("| kernels | XLA | operations | first step, s | ms |")
    print("|---|---|---:|---:|---:|")
    print_row("in one operation", "no", measure(model, False, False))
    with tracing.options(training_ops=False):
        for together in (False, True):
            for xla in (False, True):
                print_row(
                    "in batches" if together else "one at a time",
                    "yes" if xla else "no",
                    measure(model, together, xla),
                )


def print_row(
    kernels: str, xla: str, results: tuple[int, float, float]
) -> None:
    """Prints what `measure` returned."""
    count, first, best = results
    print(
        f"| {kernels} | {xla} | {count} | {first:.1f} | {1e3 * best:.1f} |",
        flush=True,
    )


def measure(
    model: RADN, together: bool, xla: bool, steps: int = 30
) -> tuple[int, float, float]:
    """Operations of the graph, and seconds of the first and the best step."""
    weights = model.trainable_variables
    optimizer = ConvMuon(
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=0.999,
        steering_lr_ratio=0.1,
    )
    optimizer.build(weights)
    gradients = [1e-3 * tf.random.normal(w.shape) for w in weights]

    @tf.function(jit_compile=xla)
    def step(gradients):
        optimizer.apply(gradients, weights)

    def seconds():
        start = time.process_time()
        step(gradients)
        return time.process_time() - start

    with mock.patch.object(backend, "KERNELS_TOGETHER", together):
        if not xla:
            first = seconds()
        else:
            with (
                mock.patch.object(backend, "adam_step", return_value=None),
                mock.patch.object(backend, "move_averages", return_value=False),
            ):
                first = seconds()
    graph = step.get_concrete_function(gradients).graph
    best = min(seconds() for _ in range(steps))
    return len(graph.get_operations()), first, best


if __name__ == "__main__":
    main()
