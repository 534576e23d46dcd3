"""Deblurs a picture by a server's REST API; needs the standard library only.

    python client_rest.py blurred.jpg sharp.png
    python client_rest.py blurred.jpg sharp.png --server http://127.0.0.1:8501

The server may be TF-Serving or `keras-radn serve`.
"""

import argparse
import base64
import contextlib
import http.client
import json
import os
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path


def main():
    default = os.environ.get("KERAS_RADN_SERVING_URL", "http://127.0.0.1:8501")
    options = parse_arguments(__doc__, default)
    try:
        write(options.output, deblur(options.input.read_bytes(), options))
    except urllib.error.HTTPError as error:
        sys.exit(f"error: {options.input}: {error.code}: {message(error)}")
    except urllib.error.URLError as error:
        sys.exit(f"error: {options.server}: no answer: {error.reason}")
    except http.client.HTTPException as error:
        sys.exit(
            f"error: {options.server}: no answer that can be read: {error}"
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def parse_arguments(description, server):
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("input", type=Path, help="JPEG or PNG file")
    parser.add_argument("output", type=Path, help="PNG file to write")
    parser.add_argument("--server", default=server, help="default: %(default)s")
    parser.add_argument("--model", default="radn", help="its name")
    parser.add_argument("--version", type=int, help="in place of the latest")
    parser.add_argument("--label", help="of a version")
    parser.add_argument("--timeout", type=float, default=60, help="seconds")
    options = parser.parse_args()
    if options.output.suffix.lower() != ".png":
        parser.error("The answer is a PNG file; let the output end in .png.")
    return options


def deblur(data, options):
    """Deblurs the bytes of a picture file."""
    path = f"/v1/models/{quote(options.model)}"
    if options.version is not None:
        path += f"/versions/{options.version}"
    elif options.label:
        path += f"/labels/{quote(options.label)}"
    body = {
        "signature_name": "image_bytes",
        "instances": [{"b64": base64.b64encode(data).decode()}],
    }
    request = urllib.request.Request(
        f"{options.server.rstrip('/')}{path}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=options.timeout) as answer:
        text = answer.read()
    try:
        (prediction,) = json.loads(text)["predictions"]
        return base64.b64decode(prediction["b64"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{options.server}: the answer has no picture; is "
            f"{options.model!r} an exported network of keras-radn?"
        ) from None


def quote(name):
    """Quotes a name, which may have slashes and colons, for a path."""
    return urllib.parse.quote(name, safe="")


def message(error):
    """Returns the server's explanation of an error."""
    text = error.reason
    with contextlib.suppress(
        http.client.HTTPException, ValueError, KeyError, TypeError
    ):
        text = error.read().decode(errors="replace")
        text = json.loads(text)["error"]
    return text


def write(path, data):
    """Writes a file beside its place and renames it, never half of it."""
    partial = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
