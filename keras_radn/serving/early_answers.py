import asyncio
import time


class EarlyAnswers:
    """ASGI middleware that reads a body to its end before it is answered.

    Requests are turned away before their body is read. If the connection were
    closed then, the kernel would reset it because of the unread bytes, and a
    client that is still sending would never see why. So the rest is received
    in pieces and thrown away first.

    Args:
        app: an ASGI application.
        max_bytes: how much is thrown away of a request; of one that is longer
            the connection is closed.
        timeout: seconds after the request's start in which the rest has to
            arrive.
    """

    def __init__(self, app, max_bytes: int, timeout: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout = timeout

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = time.monotonic() + self._timeout
        begun, ended = False, False

        async def noting_receive():
            nonlocal begun, ended
            begun = True
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        async def send_after_the_body(message):
            if message["type"] == "http.response.start" and not ended:
                if begun or self._is_coming(scope):
                    await self._discard(noting_receive, deadline)
                if not ended:
                    close = (b"connection", b"close")
                    headers = [*message.get("headers", ()), close]
                    message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, noting_receive, send_after_the_body)

    def _is_coming(self, scope):
        """Whether the client sends a body, as far as can be told, to its end.

        Who sends `Expect: 100-continue` waits for the first look at the body.
        """
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        return (
            headers.get(b"expect", b"").lower() != b"100-continue"
            and int(length) <= self._max_bytes
        )

    async def _discard(self, receive, deadline):
        left = self._max_bytes
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                while left > 0:
                    message = await receive()
                    if not message.get("more_body", False):
                        return
                    left -= len(message["body"])
        except TimeoutError:
            pass
