"""JSON as TF-Serving reads it.

The parser is the same, RapidJSON, so that errors of syntax have its words.
"""

import base64
import binascii
import codecs
import json
import re

import rapidjson

from keras_radn.serving.errors import ServingError, invalid

# No tensor has as many dimensions, and no parser's stack as few levels.
_MAX_DEPTH = 300
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]', re.DOTALL)
_CLOSING = {b"[": b"]", b"{": b"}"}
_FOLLOWED = "The document root must not be followed by other values."
_TYPE_NAMES = {
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
    type(None): "Null",
}
# A message that quotes a value must not be as long as a request.
_QUOTED = 80


def parse_object(body: bytes | bytearray) -> dict:
    """Reads a JSON object.

    As in TF-Serving `NaN` and `Infinity` are numbers, of equal keys the first
    one counts, and what follows the object is not looked at. What is nested
    deeper than any tensor becomes `null`.

    Raises:
        ServingError: it is not JSON.
    """
    if body.startswith(codecs.BOM_UTF8):
        body = body[len(codecs.BOM_UTF8) :]
    try:
        value = _parse(body)
    except RecursionError:
        value = _parse(_without_depths(body))
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {quote(value)} Is not object")
    return value


def signature_name(request: dict) -> str:
    """The signature that a request asks for; empty for the default one.

    Raises:
        ServingError: it is not a string.
    """
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {quote(request)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def quote(value: object) -> str:
    """The JSON of a value, cut off where it is long."""
    text = ""
    for part in json.JSONEncoder().iterencode(value):
        text += part
        if len(text) > _QUOTED:
            return f"{text[:_QUOTED]}..."
    return text


def json_type(value: object) -> str:
    """The name of a value's type."""
    return _TYPE_NAMES.get(type(value), str(value))


def is_base64(value: object) -> bool:
    """Whether a value stands for bytes."""
    return (
        isinstance(value, dict)
        and value.keys() == {"b64"}
        and isinstance(value["b64"], str)
    )


def decode_base64(value: str | dict) -> bytes:
    """The bytes that a string, or an object with base64, stands for.

    Raises:
        ServingError: it stands for none.
    """
    if isinstance(value, str):
        return value.encode()
    if not is_base64(value):
        raise invalid(
            f"JSON Value: {quote(value)} not formatted correctly for base64 "
            "data"
        )
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


class _Decoder(rapidjson.Decoder):
    def start_object(self):
        return []  # of pairs, as a dict would keep the last of equal keys

    def end_object(self, pairs):
        members = {}
        for key, value in pairs:
            members.setdefault(key, value)
        return members


_decode = _Decoder(number_mode=rapidjson.NM_NATIVE | rapidjson.NM_NAN)


def _parse(body):
    try:
        return _decode(body)
    except rapidjson.JSONDecodeError as error:
        place, _, what = str(error).partition(": ")
        offset = int(place.rpartition(" ")[2])
        if what == _FOLLOWED:
            return _decode(body[:offset])
        raise _parse_error(what, offset) from None
    except UnicodeDecodeError as error:
        try:
            return _parse(body[: error.start])  # it may stand behind the object
        except ServingError:
            what = "Invalid UTF-8 encoding in string."
            raise _parse_error(what, error.start) from None


def _parse_error(what, offset) -> ServingError:
    return invalid(f"JSON Parse error: {what} at offset: {offset}")


def _without_depths(body):
    """The body with `null` for what is nested too deep for the parser."""
    pieces, kept, open_brackets = [], 0, []
    for token in _STRING_OR_BRACKET.finditer(body):
        if token[0] in _CLOSING:
            open_brackets.append(_CLOSING[token[0]])
            if len(open_brackets) == _MAX_DEPTH:
                pieces += body[kept : token.start()], b"null"
        elif token[0] in _CLOSING.values():
            if not open_brackets or open_brackets.pop() != token[0]:
                break
            if len(open_brackets) == _MAX_DEPTH - 1:
                kept = token.end()
            if not open_brackets:
                return b"".join((*pieces, body[kept:]))
    raise _parse_error("The brackets do not match.", len(body))
