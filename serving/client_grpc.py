"""Deblurs a picture by a server's gRPC API.

    pip install tensorflow-serving-api
    python client_grpc.py blurred.jpg sharp.png
    python client_grpc.py blurred.jpg sharp.png --server 127.0.0.1:8500

The server may be TF-Serving or `keras-radn serve`.
"""

import os
import sys

import grpc
from client_rest import parse_arguments, write

# The stubs import TensorFlow, which writes on stderr.
stderr = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
try:
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
finally:
    os.dup2(stderr, 2)

DT_STRING = 7  # of tensorflow/core/framework/types.proto


def main():
    default = os.environ.get("KERAS_RADN_SERVING_GRPC", "127.0.0.1:8500")
    options = parse_arguments(__doc__, default)
    try:
        write(options.output, deblur(options.input.read_bytes(), options))
    except grpc.RpcError as error:
        sys.exit(
            f"error: {options.input}: {error.code().name}: {error.details()}"
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def deblur(data, options):
    """Deblurs the bytes of a picture file."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = options.model
    request.model_spec.signature_name = "image_bytes"
    if options.version is not None:
        request.model_spec.version.value = options.version
    elif options.label:
        request.model_spec.version_label = options.label
    tensor = request.inputs["image_bytes"]
    tensor.dtype = DT_STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(data)
    # Without it, answers of more than 4 MB are refused here.
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(options.server, unlimited) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=options.timeout)
    return answer.outputs["deblurred_bytes"].string_val[0]


if __name__ == "__main__":
    main()
