import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_radn.serving.errors import invalid

# Where TF-Serving writes values, and its clients read them; make_tensor_proto
# would write bytes into tensor_content.
_FIELDS = {
    np.float32: "float_val",
    np.float64: "double_val",
    np.int8: "int_val",
    np.int16: "int_val",
    np.int32: "int_val",
    np.uint8: "int_val",
    np.uint16: "int_val",
    np.int64: "int64_val",
    np.uint32: "uint32_val",
    np.uint64: "uint64_val",
    np.bool_: "bool_val",
}


def read_tensor(
    name: str, proto: tensor_pb2.TensorProto, limit: int
) -> np.ndarray:
    """The array of an input; strings as an `object` array of `bytes`.

    Args:
        name: of the input, for messages.
        proto: the tensor.
        limit: the most bytes of the array.

    Raises:
        ServingError: it is not a tensor, or too large.
    """
    try:
        dtype = tf.as_dtype(proto.dtype)
        # One value may stand for all, so that a small message makes a tensor
        # of any size.
        size = tf.TensorShape(proto.tensor_shape).num_elements()
        # Strings have no size of their own; a reference is the least.
        if size is None or size * (dtype.size or 8) > limit:
            raise invalid(
                f"The input {name} is larger than the server's {limit} bytes, "
                "or of no known size."
            )
        if dtype == tf.string and not proto.string_val:
            # make_ndarray would fill in "", which is not bytes.
            return np.full(
                tuple(dim.size for dim in proto.tensor_shape.dim), b"", object
            )
        return np.asarray(tf.make_ndarray(proto))
    except (TypeError, ValueError, KeyError) as error:
        raise invalid(f"The input {name} is not a tensor: {error}") from error


def write_tensor(proto: tensor_pb2.TensorProto, array: np.ndarray) -> None:
    """Writes an array as TF-Serving does."""
    field = _FIELDS.get(array.dtype.type)
    if field is None:  # strings and rare types
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
