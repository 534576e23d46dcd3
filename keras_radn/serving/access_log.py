import json
import logging
import re
import time
import urllib.parse

from keras_radn.serving.request_handler import RequestHandler

_logger = logging.getLogger("keras_radn.serving.access")
_CALL = re.compile(r"/v1/models/([^/:]+)(?:/[^:]*)?:(predict|classify|regress)")
# Asked for every few seconds by machines.
_QUIET = {"/healthz", "/readyz", "/monitoring/prometheus/metrics"}


class AccessLog:
    """ASGI middleware that logs and counts every request."""

    def __init__(self, app, handler: RequestHandler) -> None:
        self.app = app
        self._handler = handler

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        status = 499  # unless an answer begins
        size = {"in": 0, "out": 0}

        async def counting_receive():
            message = await receive()
            size["in"] += len(message.get("body", b""))
            return message

        async def noting_send(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            size["out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counting_receive, noting_send)
        except Exception:
            # The answer is sent; what is left is to tell the operator.
            _logger.exception("%s %s", scope["method"], scope["path"])
        finally:
            seconds = time.monotonic() - started
            self._finish(scope, status, size, seconds)

    def _finish(self, scope, status, size, seconds):
        call = _CALL.fullmatch(scope["path"])
        if call:
            code = scope.get(
                "serving_code", "OK" if status < 400 else "CANCELLED"
            )
            self._handler.answered(
                urllib.parse.unquote(call[1]),
                call[2].capitalize(),
                "REST",
                code,
                seconds,
            )
        if scope["path"] in _QUIET and status < 400:
            return
        log_request(
            "REST",
            f"{scope['method']} {scope['path']}",
            status,
            seconds,
            scope.get("serving_error"),
            bytes_in=size["in"],
            bytes_out=size["out"],
        )


def log_request(entrypoint, request, status, seconds, error=None, **more):
    """Logs a line of JSON."""
    line = {
        "api": entrypoint,
        "request": request[:200],
        "status": status,
        "ms": round(seconds * 1000, 1),
        **more,
    }
    if error:
        line["error"] = error[:200]
    _logger.info(json.dumps(line))
