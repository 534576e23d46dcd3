"""Each C++ file includes the headers of everything that it uses."""

import re
from pathlib import Path

import pytest

OPS = Path(__file__).parents[2] / "custom_ops"
FILES = sorted(
    path
    for folder in ("src", "gpu_check")
    for path in (OPS / folder).rglob("*")
    if path.suffix in (".cc", ".h")
)

# As the C++ standard and Abseil's documentation name them.
HEADERS = {
    r"std::(min|max|fill|copy|sort|clamp)\b": "<algorithm>",
    r"\bu?int(8|16|32|64)_t\b": "<cstdint>",
    r"std::getenv\b": "<cstdlib>",
    r"\b(memcpy|memset|strcmp)\b": "<cstring>",
    r"std::string\b": "<string>",
    r"std::(conditional|is_same|enable_if)\w*\b": "<type_traits>",
    r"std::(move|forward|pair|swap)\b": "<utility>",
    r"std::vector\b": "<vector>",
    r"absl::(\w*Status|\w+Error)\b": '"absl/status/status.h"',
    r"absl::StrCat\b": '"absl/strings/str_cat.h"',
    r"absl::StrJoin\b": '"absl/strings/str_join.h"',
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_headers(path):
    text = path.read_text()
    included = re.findall(r"^#include (\S+)", text, re.MULTILINE)
    code = re.sub(r"//.*|#include.*", "", text)
    used = {h for name, h in HEADERS.items() if re.search(name, code)}
    assert used <= set(included)
