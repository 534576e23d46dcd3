import asyncio
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from google.protobuf import json_format
from grpc import StatusCode
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from tensorflow_serving.apis import get_model_metadata_pb2

from keras_radn.serving.access_log import AccessLog
from keras_radn.serving.bodies import is_compressed, read_body, unzip
from keras_radn.serving.early_answers import EarlyAnswers
from keras_radn.serving.errors import ServingError, invalid
from keras_radn.serving.examples import METHODS, Task
from keras_radn.serving.json_answers import (
    write_classifications,
    write_outputs,
    write_regressions,
)
from keras_radn.serving.json_examples import read_examples
from keras_radn.serving.json_requests import read_inputs
from keras_radn.serving.json_text import parse_object, signature_name
from keras_radn.serving.metadata import signature_map
from keras_radn.serving.raw_paths import RawPaths
from keras_radn.serving.request_handler import Chosen, RequestHandler, Target
from keras_radn.serving.versions import MAX_VERSION

# The pieces in which an answer is sent, so that a slow reader stops the sender
# and not the whole answer is copied into its connection.
_PIECE = 1 << 18
# Bytes of a body that is too large; the sender of a longer one sees a reset.
_DISCARDED = 32_000_000
# Without a worker that answers; then only a new start helps.
_UNHEALTHY = 30  # seconds

_Name = Annotated[str, Path(pattern="^[^/:]+$")]
_Digits = Annotated[str, Path(pattern="^[0-9]+$")]


def make_app(
    handler: RequestHandler, ready: Callable[[], dict[str, str]]
) -> RawPaths:
    """The REST API.

    Args:
        handler: answers the requests.
        ready: gives what is missing for the server to be ready; empty if
            nothing is.

    Returns:
        An ASGI application.
    """
    app = FastAPI(
        title="keras-radn serve",
        description="TF-Serving's REST API.",
        docs_url=None,
        redoc_url=None,
        # To an address made from the request's Host.
        redirect_slashes=False,
    )
    for status, answer in (
        (ServingError, _on_serving_error),
        (ClientDisconnect, _on_disconnect),
        (RequestValidationError, _on_malformed),
        (HTTPException, _on_http_error),
        (Exception, _on_bug),
    ):
        app.add_exception_handler(status, answer)

    _add_model_routes(app, handler, "/v1/models/{model}", _latest)
    _add_model_routes(
        app, handler, "/v1/models/{model}/versions/{version}", _by_version
    )
    _add_model_routes(
        app, handler, "/v1/models/{model}/labels/{label}", _by_label
    )

    @app.get("/v1/models", include_in_schema=False)
    async def no_model():
        raise invalid("Missing model name in request.")

    @app.get("/healthz", summary="Whether the server is alive")
    async def healthz():
        seconds = handler.admission.overdue()
        if seconds > _UNHEALTHY:
            raise ServingError(
                StatusCode.UNAVAILABLE,
                f"No worker has answered for {seconds:.0f} seconds.",
            )
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether all models are available")
    async def readyz():
        missing = ready()
        if missing:
            reasons = "; ".join(f"{k}: {v}" for k, v in missing.items())
            raise ServingError(StatusCode.UNAVAILABLE, reasons)
        return {"status": "ok"}

    @app.get("/monitoring/prometheus/metrics", summary="Prometheus' metrics")
    async def metrics():
        page = handler.metrics.page()
        return Response(page, media_type=handler.metrics.page_type)

    whole = EarlyAnswers(app, handler.max_body + _DISCARDED, handler.timeout)
    return RawPaths(AccessLog(whole, handler))


async def _latest(model: _Name) -> Target:
    return Target(urllib.parse.unquote(model))


async def _by_version(model: _Name, version: _Digits) -> Target:
    # By its length first: Python converts no more than 4300 digits.
    if len(version) > 19 or int(version) > MAX_VERSION:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return Target(urllib.parse.unquote(model), version=int(version))


async def _by_label(model: _Name, label: _Name) -> Target:
    unquote = urllib.parse.unquote
    return Target(unquote(model), label=unquote(label))


def _add_model_routes(app, handler, prefix, make_target):
    """The requests to a model, its version or its label."""

    async def admitted(target: Annotated[Target, Depends(make_target)]):
        # Before the body is read; until the answer is sent.
        with handler.admitted(target) as chosen:
            yield chosen

    @app.post(
        prefix + ":predict",
        summary="Run a signature",
        openapi_extra=_PREDICT_BODY,
    )
    async def predict(
        request: Request, chosen: Annotated[Chosen, Depends(admitted)]
    ):
        return await _predict(handler, request, chosen)

    for method in METHODS:
        _add_examples_route(app, handler, prefix, method, admitted)

    @app.get(prefix, summary="The states of the versions")
    async def status(target: Annotated[Target, Depends(make_target)]):
        return _json(
            handler.manager.status(target.name, target.version, target.label)
        )

    @app.get(prefix + "/metadata", summary="The signatures")
    async def metadata(target: Annotated[Target, Depends(make_target)]):
        with handler.manager.using(
            target.name, target.version, target.label
        ) as (version, servable):
            return _metadata(target.name, version, servable)


def _add_examples_route(app, handler, prefix, method, admitted):
    @app.post(
        f"{prefix}:{method}",
        summary=f"{method.capitalize()} examples",
        openapi_extra=_EXAMPLES_BODY,
    )
    async def infer(
        request: Request, chosen: Annotated[Chosen, Depends(admitted)]
    ):
        return await _infer(handler, request, chosen, method)


async def _predict(handler, request, chosen):
    def answer(fields, deadline):
        name = signature_name(fields)
        infos = chosen.servable.signature(name).inputs
        inputs, row_format = read_inputs(fields, infos)
        fields.clear()  # the lists take more memory than the arrays
        outputs = handler.predict(chosen, name, inputs, deadline)
        return write_outputs(outputs, row_format)

    return await _compute(handler, request, answer)


async def _infer(handler, request, chosen, method):
    write = {"classify": write_classifications, "regress": write_regressions}

    def answer(fields, deadline):
        task = Task(METHODS[method], signature_name(fields))
        source = read_examples(fields)
        (result,) = handler.infer(chosen, [task], source, deadline)
        return write[method](result)

    return await _compute(handler, request, answer)


async def _compute(handler, request, answer):
    """The response whose JSON a worker makes of the request's."""
    deadline = time.monotonic() + handler.timeout
    compressed = is_compressed(request)
    body = await read_body(request, handler.max_body, deadline)

    def compute():
        fields = parse_object(
            unzip(body, handler.max_body) if compressed else body
        )
        return answer(fields, deadline)

    content = await _unless_gone(
        request, handler.admission.run(compute, deadline)
    )
    return _InPieces(content, handler.timeout)


async def _unless_gone(request, computing):
    """Waits for an answer as long as somebody waits for it."""
    work = asyncio.ensure_future(computing)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


class _InPieces(Response):
    media_type = "application/json"

    def __init__(self, content, timeout):
        super().__init__(content)
        self._timeout = timeout

    async def __call__(self, scope, receive, send):
        try:
            async with asyncio.timeout(self._timeout):
                await self._send(send)
        except TimeoutError:  # the connection is closed, then
            scope["serving_code"] = "CANCELLED"
            scope["serving_error"] = "The client reads too slowly."

    async def _send(self, send):
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        view = memoryview(self.body)
        for start in range(0, len(view), _PIECE):
            end = start + _PIECE
            await send(
                {
                    "type": "http.response.body",
                    "body": bytes(view[start:end]),
                    "more_body": end < len(view),
                }
            )


def _json(message):
    text = json_format.MessageToJson(
        message, always_print_fields_with_no_presence=True
    )
    return Response(text, media_type="application/json")


def _metadata(name, version, servable):
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version

    def as_dict(message):
        return json_format.MessageToDict(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )

    text = json.dumps(
        {
            "model_spec": as_dict(response.model_spec),
            "metadata": {"signature_def": as_dict(signature_map(servable))},
        },
        indent=1,
    )
    return Response(text, media_type="application/json")


def _error(status, message, request, code, retry_after=None):
    # For the access log.
    request.scope["serving_code"] = code
    request.scope["serving_error"] = message
    headers = {}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Response(
        json.dumps({"error": message}),
        status,
        headers,
        media_type="application/json",
    )


def _on_serving_error(request, error):
    return _error(
        error.http_status,
        error.message,
        request,
        error.code.name,
        error.retry_after,
    )


def _on_disconnect(request, error):
    return _error(499, "The client is gone.", request, "CANCELLED")


def _on_malformed(request, error):
    message = f"Malformed request: {request.method} {request.url.path}"
    return _error(400, message, request, "INVALID_ARGUMENT")


def _on_http_error(request, error):
    if request.url.path.startswith("/v1/"):
        return _on_malformed(request, error)
    return _error(error.status_code, error.detail, request, "NOT_FOUND")


def _on_bug(request, error):
    message = f"Internal error: {type(error).__name__}"
    return _error(500, message, request, "INTERNAL")


def _json_body(required, **properties):
    """OpenAPI's description of a request, with one of the required keys."""
    schema = {
        "type": "object",
        "properties": {"signature_name": {"type": "string"}, **properties},
        "oneOf": [{"required": [key]} for key in required],
    }
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


_LIST = {"type": "array", "minItems": 1}
_PREDICT_BODY = _json_body(("instances", "inputs"), instances=_LIST, inputs={})
_EXAMPLES_BODY = _json_body(
    ("examples",), examples=_LIST, context={"type": "object"}
)
