import logging
import os

import keras
import tensorflow as tf

from keras_radn.export.network import (
    Exported,
    compare,
    in_float32,
    picture_function,
    require_new_file,
)
from keras_radn.files import written_beside
from keras_radn.ops import tracing
from keras_radn.ops.geometry import ConvGeometry

OPSET = 18  # the last one that tf2onnx writes
DEFORM_CONV_OPSET = 22
# Where DeformConv lives until the model has an opset that knows it.
_DOMAIN = "keras_radn"
_TOLERANCE = 1e-4


def onnx(
    model: keras.Model,
    path: str | os.PathLike,
    deform_conv: bool = False,
    force: bool = False,
) -> Exported:
    """Writes a network as an ONNX file.

    Its input is `images`, float32 `(N, H, W, 3)` in [0, 1] of any size, its
    output `deblurred`, the same, clipped to [0, 1]. Networks in half precision
    are written in float32.

    Args:
        model: a network of this package.
        path: the file, ending in `.onnx`.
        deform_conv: whether deformable convolutions become the standard
            operator `DeformConv`, at opset 22; if not, they are gathered by
            more common operators, at opset 18. onnxruntime runs both; other
            runtimes may not have `DeformConv`.
        force: whether an existing file is replaced.

    Returns:
        The file, and how onnxruntime's answer compares with the model's.

    Raises:
        FileExistsError: if there is such a file and not `force`.
        ValueError: if the model maps no images to images, or what was written
            differs from it by more than 1e-4; nothing is left then.
        ImportError: if `onnx`, `onnxruntime` or `tf2onnx` is missing.
        OSError: if the file cannot be written.

    Example:

    ```python
    from keras_radn import RADN, export

    model = RADN(pretrained=True)
    export.onnx(model, "radn.onnx", deform_conv=True)
    ```
    """
    # Here, for these packages are an extra.
    try:
        import onnx as onnx_package
        import onnxruntime
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Exporting to ONNX needs onnx, onnxruntime and tf2onnx: pip "
            "install 'keras-radn[onnx]'"
        ) from error
    path = require_new_file(path, ".onnx", force)
    model = in_float32(model)
    converted = _convert(model, deform_conv)
    onnx_package.checker.check_model(converted, full_check=True)
    with written_beside(path) as partial:
        onnx_package.save(converted, partial)
        session = onnxruntime.InferenceSession(
            partial, providers=["CPUExecutionProvider"]
        )
        exported = compare(
            path,
            model,
            lambda x: session.run(["deblurred"], {"images": x})[0],
            max_difference=_TOLERANCE,
        )
    return exported


def _convert(model, deform_conv):
    from onnx import helper, version_converter
    from tf2onnx import convert

    placeholders = _Placeholders()
    deblur = picture_function(model, loops=False)
    function = tf.function(
        lambda images: {"deblurred": deblur.python_function(images)},
        input_signature=deblur.input_signature,
        autograph=False,
    )
    with tracing.options(
        convolution=placeholders.compute if deform_conv else None
    ):
        concrete = function.get_concrete_function()
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # shapes that it cannot infer do not matter
    try:
        converted, _ = convert.from_function(
            function,
            function.input_signature,
            opset=OPSET,
            custom_op_handlers={_Placeholders.OP: (placeholders.write, [])},
            extra_opset=[helper.make_opsetid(_DOMAIN, 1)],
        )
    finally:
        logger.setLevel(level)
    _fix_captured(converted.graph, concrete)
    if deform_conv:
        converted = version_converter.convert_version(
            converted, DEFORM_CONV_OPSET
        )
        for node in converted.graph.node:
            if node.domain == _DOMAIN:
                node.domain = ""
    opset = DEFORM_CONV_OPSET if deform_conv else OPSET
    del converted.opset_import[:]
    converted.opset_import.append(helper.make_opsetid("", opset))
    converted.doc_string = (
        "Removes motion blur. images: RGB in [0, 1], (N, H, W, 3); deblurred: "
        "the same."
    )
    return converted


def _fix_captured(graph, function):
    """Makes initializers of constants that tf2onnx takes for inputs."""
    from onnx import numpy_helper

    captured = {
        placeholder.name: value
        for value, placeholder in function.graph.captures
        if placeholder.dtype != tf.resource
    }
    used = {name for node in graph.node for name in node.input}
    for value in list(graph.input):
        if value.name in captured:
            graph.input.remove(value)
            if value.name in used:
                array = captured[value.name].numpy()
                graph.initializer.append(
                    numpy_helper.from_array(array, value.name)
                )


class _Placeholders:
    """What stands for deformable convolutions on their way through tf2onnx."""

    # A call of Python: an operation of TensorFlow with any inputs.
    OP = "PyFuncStateless"

    def __init__(self):
        self._attributes = {}

    def compute(
        self,
        inputs: tf.Tensor,
        kernel: tf.Tensor,
        offset: tf.Tensor,
        mask: tf.Tensor | None,
        geometry: ConvGeometry,
        groups: int,
        offset_groups: int,
    ) -> tf.Tensor:
        """Puts a placeholder into the graph."""
        if geometry.padding == "same" and geometry.strides != (1, 1):
            raise ValueError(
                'DeformConv cannot express padding="same" with strides for '
                "images of any size; export with deform_conv=False."
            )
        before = geometry.leading_padding(_LARGE)
        total = [
            (k - 1) * d if geometry.padding == "same" else 0
            for k, d in zip(
                geometry.kernel_size, geometry.dilation_rate, strict=True
            )
        ]
        after = [t - b for t, b in zip(total, before, strict=True)]
        tensors = [inputs, kernel, offset, *([] if mask is None else [mask])]
        outputs = tf.numpy_function(_never, tensors, inputs.dtype, False)
        self._attributes[outputs.op.get_attr("token")] = {
            "kernel_shape": list(geometry.kernel_size),
            "strides": list(geometry.strides),
            "dilations": list(geometry.dilation_rate),
            "pads": [*before, *after],
            "group": groups,
            "offset_group": offset_groups,
        }
        return outputs

    def write(self, graph, node, _name, _arguments) -> None:
        """tf2onnx's handler: a DeformConv in the place of a placeholder."""
        attributes = self._attributes[node.get_attr("token").s]
        dtype = graph.get_dtype(node.output[0])
        outputs, shapes = list(node.output), node.output_shapes
        channels_first = [
            graph.make_node(
                "Transpose",
                [name],
                attr={"perm": [3, 2, 0, 1] if i == 1 else [0, 3, 1, 2]},
            ).output[0]
            for i, name in enumerate(node.input)
        ]
        if len(channels_first) == 4:
            channels_first.insert(3, "")  # no bias before the mask
        graph.remove_node(node.name)
        convolution = graph.make_node(
            "DeformConv",
            channels_first,
            attr=attributes,
            domain=_DOMAIN,
            dtypes=[dtype],
            shapes=[None],
        )
        graph.make_node(
            "Transpose",
            convolution.output,
            attr={"perm": [0, 2, 3, 1]},
            outputs=outputs,
            dtypes=[dtype],
            shapes=shapes,
        )


# With strides of 1 the padding is that of any size beyond the kernel's.
_LARGE = (1 << 20, 1 << 20)


def _never(*_):
    raise NotImplementedError
