"""Parameters and multiply-accumulate operations of a model."""

import keras

from keras_radn.ops import backend

_MAC_OPS = (
    "Conv2D",
    "Conv2DBackpropInput",
    "DepthwiseConv2dNative",
    "MatMul",
    "BatchMatMulV2",
    "Einsum",
)


def count_macs(model: keras.Model, height: int = 256, width: int = 256) -> int:
    """Multiply-accumulates of the convolutions and matrix products.

    Counted by TensorFlow's own profiler on the graph of one image. What a
    deformable convolution adds for interpolation (4 per tap, filter and
    position) is not in it, as is usual for bilinear sampling.

    Args:
        model: a network with one image input of 3 channels.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        Number of multiply-accumulates.

    Raises:
        ImportError: on another backend than TensorFlow.
    """
    backend.require_tensorflow("The count of operations")
    import tensorflow as tf

    from keras_radn.ops import tracing

    image = tf.TensorSpec([1, height, width, 3], model.inputs[0].dtype)
    forward = tf.function(lambda x: model(x, training=False), autograph=False)
    # The profiler sees no products inside of the native op and of loops.
    with tracing.options(implementation="gather", loops=False):
        graph = forward.get_concrete_function(image).graph
    option = tf.compat.v1.profiler.ProfileOptionBuilder
    options = (
        option(option.float_operation())
        .with_accounted_types([f"^{op}$" for op in _MAC_OPS])
        .with_empty_output()
        .build()
    )
    options["account_displayed_op_only"] = True
    profile = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    return profile.total_float_ops // 2
