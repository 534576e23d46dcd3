import re

import tensorflow as tf
from grpc import StatusCode

# As in tensorflow_serving/model_servers/http_server.cc.
_HTTP_STATUS = {
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.UNAUTHENTICATED: 401,
}
_CODES = {code.value[0]: code for code in StatusCode}
_NODE_NAMES = re.compile(r"\{\{function_node [^}]*\}\} ?")
# What a session puts before the words of the operation: a title and, for the
# nodes that are in no function, where they were made.
_TITLE = re.compile(
    r"Graph execution error:\s+(Detected at node .*^Node: [^\n]*\n)?",
    re.DOTALL | re.MULTILINE,
)
_ASSERTION = re.compile(r"assertion failed: \[([^]]*)\]")


class ServingError(Exception):
    """A request that fails, in the terms of both protocols.

    Args:
        code: the canonical code, gRPC's status.
        message: what is wrong and what to do.
        http_status: HTTP's status, where it says more than the one that
            TF-Serving gives the code.
        retry_after: seconds after which the client may try again.
    """

    def __init__(
        self,
        code: StatusCode,
        message: str,
        http_status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status or _HTTP_STATUS.get(code, 500)
        self.retry_after = retry_after


def invalid(message: str) -> ServingError:
    """The error of a request that can never succeed."""
    return ServingError(StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """The error of a graph; without the names and stacks of its nodes."""
    message = _TITLE.sub("", _NODE_NAMES.sub("", error.message), 1).strip()
    message = message.split("\n", 1)[0]
    if assertion := _ASSERTION.fullmatch(message):
        message = assertion[1]
    return ServingError(
        _CODES.get(error.error_code, StatusCode.UNKNOWN), message
    )
