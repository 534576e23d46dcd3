import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """A connection whose requests have to come in time.

    uvicorn closes connections that are idle after a request, and waits for
    ever for a request's headers: so many connections that send nothing would
    put the server out of service.

    Args:
        header_timeout: seconds from when a connection is made, or an idle one
            sends again, until the request's headers are complete.
        *args: uvicorn's.
        **kwargs: uvicorn's.
    """

    def __init__(
        self, *args: Any, header_timeout: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout = header_timeout
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_headers()
        else:
            self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_headers(self):
        # Not anew with each byte: that would allow a byte now and then.
        if self._late is None:
            self._late = self.loop.call_later(
                self._header_timeout, self.transport.close
            )

    def _expect_nothing(self):
        if self._late is not None:
            self._late.cancel()
            self._late = None
