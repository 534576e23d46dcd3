"""The page's files and its API."""

import asyncio
import contextlib
import io
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from keras_radn.demo.jobs import BusyError, Job, JobQueue
from keras_radn.pictures.reading import read_picture

_STATIC = Path(__file__).with_name("static")
# For the largest file over 5 Mbit/s.
_UPLOAD_SECONDS = 120
_PAGES = "`keras-radn deblur` does all of them, into a .tif file"
_RESULTS = ("before", "deblurred", "offsets", "attention")

_HEADERS = {
    # The page asks for nothing from elsewhere, and nobody else may show it.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class _RefusedError(Exception):
    """A status of HTTP and a sentence for the one who sent the picture."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


def make_app(
    jobs: JobQueue, max_bytes: int, max_pixels: int, hosts: list[str] | None
) -> FastAPI:
    """The application.

    `POST /api/pictures?name=NAME&ensemble=true&multi_scale=true` with the bytes
    of a file as `application/octet-stream` starts a job, `GET
    /api/pictures/ID` tells how far it is, `GET
    /api/pictures/ID/deblurred.png` gets its result, and `DELETE
    /api/pictures/ID` gives it up. Errors are `{"error": sentence}`.

    Args:
        jobs: what does the work.
        max_bytes: of a file.
        max_pixels: of a picture.
        hosts: names under which the server may be asked for; `None` is any.
            With names of this computer only, a site elsewhere whose name is
            made to point here gets nothing.
    """
    # FastAPI's own documentation pages load scripts from elsewhere.
    app = FastAPI(openapi_url=None)
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.middleware("http")(_add_headers)
    app.exception_handler(_RefusedError)(_on_refused)
    app.exception_handler(ClientDisconnect)(_on_disconnect)

    @app.get("/api/limits")
    async def limits():
        return {
            "megabytes": max_bytes / 1e6,
            "megapixels": max_pixels / 1e6,
            "local": hosts is not None,
        }

    _add_upload(app, jobs, max_bytes, max_pixels)
    _add_job_routes(app, jobs)
    app.mount("/", StaticFiles(directory=_STATIC, html=True))
    return app


async def _add_headers(request, call_next):
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _on_refused(request, error):
    return JSONResponse({"error": str(error)}, error.status)


async def _on_disconnect(request, error):
    return Response(status_code=499)  # which nobody gets


def _add_upload(app, jobs, max_bytes, max_pixels):
    @app.post("/api/pictures", status_code=202)
    async def send(
        request: Request,
        name: str = "picture",
        ensemble: bool = False,
        multi_scale: bool = False,
    ):
        kind = request.headers.get("content-type")
        if kind != "application/octet-stream":
            # Pages of other sites can send other types, but not this one.
            raise _RefusedError(
                415,
                "The file must be sent as application/octet-stream. Received: "
                f"{kind}",
            )
        try:
            jobs.require_place()
            data = await _read_body(request, max_bytes)
            picture = await run_in_threadpool(_read, data, name, max_pixels)
            job = jobs.submit(picture, name, ensemble, multi_scale)
        except BusyError:
            raise _RefusedError(
                503,
                "Too many pictures are waiting already; please try again in a "
                "minute.",
            ) from None
        return {"id": job.id}


def _add_job_routes(app, jobs):
    def find(job_id: str) -> Job:
        job = jobs.get(job_id)
        if job is None:
            raise _RefusedError(
                404,
                "This picture is not kept any more; please send it again.",
            )
        return job

    @app.get("/api/pictures/{job_id}")
    async def status(job_id: str):
        job = find(job_id)
        return {
            "state": job.state,
            "ahead": jobs.ahead_of(job) if job.state == "queued" else 0,
            "done": job.progress[0],
            "total": job.progress[1],
            "error": job.error,
            "maps": job.maps,
        }

    @app.delete("/api/pictures/{job_id}", status_code=204)
    async def cancel(job_id: str):
        jobs.cancel(find(job_id))

    @app.get("/api/pictures/{job_id}/{result}.png")
    async def result(job_id: str, result: str):
        job = find(job_id)
        path = job.folder / f"{result}.png"
        if result not in _RESULTS or not path.is_file():
            raise _RefusedError(
                404, f"There is no {result}.png of this picture."
            )
        name = quote(f"{Path(job.name).stem}.{result}.png")
        return FileResponse(
            path,
            headers={"Content-Disposition": f"inline; filename*=UTF-8''{name}"},
        )


async def _read_body(request, max_bytes):
    too_large = _RefusedError(
        413,
        f"This file is too large: up to {max_bytes / 1e6:g} MB can be sent.",
    )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > max_bytes:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for chunk in request.stream():
                data += chunk
                if len(data) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise _RefusedError(
            408,
            f"The file did not arrive within {_UPLOAD_SECONDS} s; please send "
            "it again, or a smaller one.",
        ) from None
    return bytes(data)


def _read(data, name, max_pixels):
    """Reads an uploaded picture; only the text of its name is used."""
    size = 0, 0
    # Below, it is said what is wrong.
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as image:
        size = image.size
    _check_size(name, *size, max_pixels)  # before all is decoded
    try:
        picture = read_picture(data, _PAGES)
    except (ValueError, ImportError) as error:
        reason = str(error).removeprefix("<bytes>: ")
        raise _RefusedError(415, f"{name}: {reason}") from None
    height, width = picture.pixels.shape[:2]
    _check_size(name, width, height, max_pixels)
    return picture


def _check_size(name, width, height, max_pixels):
    if height * width > max_pixels:
        raise _RefusedError(
            413,
            f"{name}: {width}x{height} are {height * width / 1e6:.1f} "
            f"megapixels; up to {max_pixels / 1e6:g} can be deblurred on this "
            "page. `keras-radn deblur` has no such limit.",
        )
