"""Compares two replicas with one, in a process of its own.

python -m tests.layers.replicas INPUTS.npy
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from keras_radn import RADN, hooks, layers
from tests.conftest import TINY_RADN

BUILDS = (
    lambda **k: layers.DenseBlock(2, 4, **k),
    lambda **k: layers.Transition(3, **k),
)


def main():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    inputs = np.load(sys.argv[1])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for build in BUILDS:
        joint = new_layer(build, inputs.shape)
        with strategy.scope():
            parts = new_layer(build, inputs.shape, synchronized=True)
        expected = [
            *train(joint, tf.constant(inputs)),
            *joint.non_trainable_variables,
        ]
        found = [
            *train_replicas(parts, strategy, np.split(inputs, 2)),
            *parts.non_trainable_variables,
        ]
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(other),
                keras.ops.convert_to_numpy(one),
                rtol=1e-4,
                atol=1e-4,
            )
    for block in ("dense", "bottleneck"):
        with strategy.scope():
            check_all_norms_are_synchronized(block)


def check_all_norms_are_synchronized(decoder_block):
    model = RADN(decoder_block=decoder_block, **TINY_RADN)
    norms = [
        layer
        for layer in hooks.flatten_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) > 10
    assert all(norm.synchronized for norm in norms)


def new_layer(build, input_shape, **kwargs):
    keras.utils.set_random_seed(0)
    layer = build(**kwargs)
    layer.build(input_shape)
    return layer


@tf.function
def train(layer, inputs):
    """Returns outputs, and the gradient through the statistics."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(outputs**2)
    return outputs, tape.gradient(loss, inputs)


def train_replicas(layer, strategy, halves):
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(halves[context.replica_id_in_sync_group])
    )
    results = strategy.run(train, (layer, values))
    return [
        tf.concat(strategy.experimental_local_results(result), 0)
        for result in results
    ]


if __name__ == "__main__":
    main()
