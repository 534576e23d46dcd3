import asyncio
import contextlib
import logging
import time

import grpc
from grpc import StatusCode
from grpc_health.v1 import health, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from keras_radn.serving.access_log import log_request
from keras_radn.serving.errors import ServingError, invalid
from keras_radn.serving.examples import METHODS, Task, tasks_of
from keras_radn.serving.metadata import signature_map
from keras_radn.serving.request_handler import RequestHandler, Target
from keras_radn.serving.servable import DEFAULT_SIGNATURE
from keras_radn.serving.tensor_protos import read_tensor, write_tensor

_logger = logging.getLogger("keras_radn.serving")
# Requests beyond the places of the server that are looked at, to be refused, or
# because they ask for no prediction.
_EXTRA_RPCS = 8
_RESULT_FIELDS = {
    classification_pb2.ClassificationResult: "classification_result",
    regression_pb2.RegressionResult: "regression_result",
}


def make_grpc_server(
    handler: RequestHandler, allow_reload: bool
) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    """The gRPC API: `PredictionService`, `ModelService` and gRPC's health.

    Args:
        handler: answers the requests.
        allow_reload: whether clients may change the configuration.

    Returns:
        The server, without a port yet, and the service of its health.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", handler.max_body),
            ("grpc.max_send_message_length", -1),
            # Otherwise two servers could have the same port.
            ("grpc.so_reuseport", 0),
        ],
        # Messages are read before anybody can refuse them.
        maximum_concurrent_rpcs=handler.admission.places + _EXTRA_RPCS,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(handler), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        _ModelService(handler, allow_reload), server
    )
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    return server, healthy


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, handler):
        self._handler = handler

    async def Predict(self, request, context):  # noqa: N802
        handler = self._handler

        def answer(chosen, deadline):
            outputs = handler.predict(
                chosen,
                request.model_spec.signature_name,
                {
                    k: read_tensor(k, v, handler.max_body)
                    for k, v in request.inputs.items()
                },
                deadline,
                request.output_filter,
            )
            response = predict_pb2.PredictResponse()
            _fill_spec(response, request.model_spec, chosen.version)
            for name, array in outputs.items():
                write_tensor(response.outputs[name], array)
            return response

        return await self._compute("Predict", request, context, answer)

    async def Classify(self, request, context):  # noqa: N802
        response = classification_pb2.ClassificationResponse()
        return await self._infer("classify", request, context, response)

    async def Regress(self, request, context):  # noqa: N802
        response = regression_pb2.RegressionResponse()
        return await self._infer("regress", request, context, response)

    async def MultiInference(self, request, context):  # noqa: N802
        def answer(chosen, deadline):
            results = self._handler.infer(
                chosen, tasks_of(request), request.input, deadline
            )
            response = inference_pb2.MultiInferenceResponse()
            for task, result in zip(request.tasks, results, strict=True):
                entry = response.results.add()
                _fill_spec(entry, task.model_spec, chosen.version)
                field = _RESULT_FIELDS[type(result)]
                getattr(entry, field).CopyFrom(result)
            return response

        # The tasks name the model.
        first = (request.tasks or [inference_pb2.InferenceTask()])[0]
        return await self._compute("MultiInference", first, context, answer)

    async def _infer(self, method, request, context, response):
        def answer(chosen, deadline):
            spec = request.model_spec
            task = Task(METHODS[method], spec.signature_name)
            (result,) = self._handler.infer(
                chosen, [task], request.input, deadline
            )
            response.result.CopyFrom(result)
            _fill_spec(response, spec, chosen.version)
            return response

        api = method.capitalize()
        return await self._compute(api, request, context, answer)

    async def _compute(self, api, request, context, answer):
        """The response that a worker makes."""
        handler = self._handler
        deadline = time.monotonic() + _time_limit(context, handler.timeout)
        name = request.model_spec.name
        async with _answering(context, api, name, handler):
            with handler.admitted(_target(request)) as chosen:
                return await handler.admission.run(
                    lambda: answer(chosen, deadline), deadline
                )

    async def GetModelMetadata(self, request, context):  # noqa: N802
        spec = request.model_spec
        async with _answering(context, "GetModelMetadata", spec.name):
            target = _target(request)
            if not request.metadata_field:
                raise invalid(
                    "GetModelMetadataRequest must specify at least one "
                    "metadata_field"
                )
            for field in request.metadata_field:
                if field != "signature_def":
                    raise invalid(f"Metadata field {field} is not supported")
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            with self._handler.manager.using(
                target.name, target.version, target.label
            ) as (version, servable):
                response.model_spec.name = spec.name
                response.model_spec.version.value = version
                response.metadata["signature_def"].Pack(signature_map(servable))
            return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, handler, allow_reload):
        self._handler = handler
        self._allow_reload = allow_reload

    async def GetModelStatus(self, request, context):  # noqa: N802
        spec = request.model_spec
        async with _answering(context, "GetModelStatus", spec.name):
            target = _target(request)
            return self._handler.manager.status(
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
                    "or in the file that the server reads it from.",
                )
            await asyncio.to_thread(
                self._handler.manager.reload, request.config
            )
            return model_management_pb2.ReloadConfigResponse()


@contextlib.asynccontextmanager
async def _answering(context, api, name, handler=None):
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
        if handler is not None:
            handler.answered(name, api, "GRPC", code.name, seconds)
        log_request("gRPC", f"{api} {name}", code.name, seconds, error)


def _time_limit(context, timeout):
    remaining = context.time_remaining()
    return timeout if remaining is None else min(timeout, remaining)


def _target(request):
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    return Target(
        spec.name,
        version=spec.version.value if choice == "version" else None,
        label=spec.version_label if choice == "version_label" else None,
    )


def _fill_spec(answer, asked, version):
    """Says which version and signature the answer is of."""
    spec = answer.model_spec
    spec.name = asked.name
    spec.signature_name = asked.signature_name or DEFAULT_SIGNATURE
    spec.version.value = version
