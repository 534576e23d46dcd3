import asyncio
import contextlib
import logging
import time

import grpc
import numpy as np
import tensorflow as tf
from grpc import StatusCode
from grpc_health.v1 import health, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_radn.serving.access_log import log_request
from keras_radn.serving.errors import ServingError, invalid
from keras_radn.serving.metadata import refuse_method, signature_map
from keras_radn.serving.predictor import Predictor, Target
from keras_radn.serving.servable import DEFAULT_SIGNATURE

_logger = logging.getLogger("keras_radn.serving")
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
# Requests beyond the places of the server that are looked at, to be refused, or
# because they ask for no prediction.
_EXTRA_RPCS = 8


def make_grpc_server(
    predictor: Predictor, allow_reload: bool
) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    """The gRPC API: `PredictionService`, `ModelService` and gRPC's health.

    Args:
        predictor: answers the requests.
        allow_reload: whether clients may change the configuration.

    Returns:
        The server, without a port yet, and the service of its health.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", predictor.max_body),
            ("grpc.max_send_message_length", -1),
            # Else two servers could have the same port.
            ("grpc.so_reuseport", 0),
        ],
        # Messages are read before anybody can refuse them.
        maximum_concurrent_rpcs=predictor.admission.places + _EXTRA_RPCS,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(predictor), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        _ModelService(predictor, allow_reload), server
    )
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    return server, healthy


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, predictor):
        self._predictor = predictor

    async def Predict(self, request, context):  # noqa: N802
        predictor = self._predictor
        deadline = time.monotonic() + _time_limit(context, predictor.timeout)
        spec = request.model_spec
        async with _answering(context, "Predict", spec.name, predictor):
            with predictor.admitted(_target(spec)) as chosen:

                def compute():
                    outputs = predictor.predict(
                        chosen,
                        spec.signature_name,
                        {
                            k: _read(k, v, predictor.max_body)
                            for k, v in request.inputs.items()
                        },
                        deadline,
                        request.output_filter,
                    )
                    response = predict_pb2.PredictResponse()
                    _fill_spec(response.model_spec, spec, chosen.version)
                    for name, array in outputs.items():
                        _write(response.outputs[name], np.asarray(array))
                    return response

                return await predictor.admission.run(compute, deadline)

    async def GetModelMetadata(self, request, context):  # noqa: N802
        spec = request.model_spec
        async with _answering(context, "GetModelMetadata", spec.name):
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            if not request.metadata_field:
                raise invalid(
                    "GetModelMetadataRequest must specify at least one "
                    "metadata_field"
                )
            for field in request.metadata_field:
                if field != "signature_def":
                    raise invalid(f"Metadata field {field} is not supported")
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            target = _target(spec)
            with self._predictor.manager.using(
                target.name, target.version, target.label
            ) as (version, servable):
                response.model_spec.name = spec.name
                response.model_spec.version.value = version
                response.metadata["signature_def"].Pack(signature_map(servable))
            return response

    async def Classify(self, request, context):  # noqa: N802
        await self._refuse("classify", request, context)

    async def Regress(self, request, context):  # noqa: N802
        await self._refuse("regress", request, context)

    async def _refuse(self, method, request, context):
        spec = request.model_spec
        api = method.capitalize()
        async with _answering(context, api, spec.name, self._predictor):
            with self._predictor.admitted(_target(spec)) as chosen:
                refuse_method(chosen.servable, method, spec.signature_name)


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, predictor, allow_reload):
        self._predictor = predictor
        self._allow_reload = allow_reload

    async def GetModelStatus(self, request, context):  # noqa: N802
        spec = request.model_spec
        async with _answering(context, "GetModelStatus", spec.name):
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            target = _target(spec)
            return self._predictor.manager.status(
                target.name, target.version, target.label
            )

    async def HandleReloadConfigRequest(  # noqa: N802
        self, request, context
    ):
        async with _answering(context, "HandleReloadConfigRequest", ""):
            if not self._allow_reload:
                raise ServingError(
                    StatusCode.PERMISSION_DENIED,
                    "The configuration can be changed from this machine only, "
                    "or in the server's --model-config-file.",
                )
            await asyncio.to_thread(
                self._predictor.manager.reload, request.config
            )
            return model_management_pb2.ReloadConfigResponse()


@contextlib.asynccontextmanager
async def _answering(context, api, name, predictor=None):
    """Turns errors into gRPC's, logs and counts."""
    started = time.monotonic()
    code, error = StatusCode.OK, None
    try:
        yield
    except ServingError as failure:
        code, error = failure.code, failure.message
        if failure.retry_after is not None:
            context.set_trailing_metadata(
                (("grpc-retry-pushback-ms", f"{failure.retry_after * 1000}"),)
            )
        await context.abort(code, error)
    except asyncio.CancelledError:
        code, error = StatusCode.CANCELLED, "The client is gone."
        raise
    except Exception as failure:
        code = StatusCode.INTERNAL
        error = f"Internal error: {type(failure).__name__}"
        _logger.exception("%s %s", api, name)
        await context.abort(code, error)
    finally:
        seconds = time.monotonic() - started
        if predictor is not None:
            predictor.answered(name, api, "GRPC", code.name, seconds)
        log_request("gRPC", f"{api} {name}", code.name, seconds, error)


def _time_limit(context, timeout):
    remaining = context.time_remaining()
    return timeout if remaining is None else min(timeout, remaining)


def _target(spec):
    if not spec.name:
        raise invalid("Missing model name in request.")
    choice = spec.WhichOneof("version_choice")
    return Target(
        spec.name,
        version=spec.version.value if choice == "version" else None,
        label=spec.version_label if choice == "version_label" else None,
    )


def _fill_spec(answer, asked, version):
    answer.name = asked.name
    answer.signature_name = asked.signature_name or DEFAULT_SIGNATURE
    answer.version.value = version


def _read(name, proto, limit):
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
            # make_ndarray would fill in "", which is no bytes.
            return np.full(
                tuple(dim.size for dim in proto.tensor_shape.dim), b"", object
            )
        return np.asarray(tf.make_ndarray(proto))
    except (TypeError, ValueError, KeyError) as error:
        raise invalid(f"The input {name} is no tensor: {error}") from error


def _write(proto, array):
    field = _FIELDS.get(array.dtype.type)
    if field is None:  # strings and rare types
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
