class RawPaths:
    """ASGI middleware that leaves a request's path as it was sent.

    So the name of a model may have a slash or a colon: they are encoded where
    those of the path are not.
    """

    def __init__(self, app) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)
