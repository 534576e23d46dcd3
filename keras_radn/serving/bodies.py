import asyncio
import gzip
import io
import time
import zlib

from fastapi import Request
from grpc import StatusCode

from keras_radn.serving.errors import ServingError, invalid

# Both are the same in RFC 9110, in letters of either case.
_GZIP = {"gzip", "x-gzip"}


async def read_body(request: Request, limit: int, deadline: float) -> bytearray:
    """Receives a request's body.

    Args:
        request: whose body nobody has read yet.
        limit: the most bytes.
        deadline: on the clock of `time.monotonic`.

    Raises:
        ServingError: it is too large, or does not arrive in time.
    """
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limit:
                    raise _too_large(limit)
                body += chunk
    except TimeoutError:
        raise ServingError(
            StatusCode.DEADLINE_EXCEEDED,
            "The request's body did not arrive in time.",
            http_status=408,
        ) from None
    return body


def is_compressed(request: Request) -> bool:
    """Whether the body is a gzip file.

    Raises:
        ServingError: it is encoded otherwise.
    """
    lines = ",".join(request.headers.getlist("content-encoding"))
    codings = [coding.strip().lower() for coding in lines.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if len(codings) > 1 or not _GZIP.issuperset(codings):
        raise ServingError(
            StatusCode.INVALID_ARGUMENT,
            f"The encoding {lines[:80]} is not supported; send gzip or none.",
            http_status=415,
        )
    return bool(codings)


def unzip(body: bytes | bytearray, limit: int) -> bytes:
    """What all members of a gzip file hold.

    Args:
        body: the file.
        limit: the most bytes that it may hold.

    Raises:
        ServingError: it holds more, or is damaged or cut off.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            text = file.read(limit + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise invalid(
            f"The request's body is not a whole gzip file: {error}"
        ) from None
    if len(text) > limit:
        raise _too_large(limit)
    return text


def _too_large(limit):
    return ServingError(
        StatusCode.INVALID_ARGUMENT,
        f"The request is larger than the server's {limit} bytes; send smaller "
        "images, or encoded ones (image_bytes), or raise the server's limit "
        "(`max_body`).",
        http_status=413,
    )
