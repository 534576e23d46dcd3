"""Addresses and bodies of requests to the small model."""

SMALL = "/v1/models/small"
PREDICT = f"{SMALL}:predict"
ROW = {"instances": [[[[1, 2, 3]]]]}
NAMED_ROWS = [
    {"tag": "foo", "signal": [1, 2, 3], "sensor": [1, 2]},
    {"tag": "bar", "signal": [4, 5, 6], "sensor": [3, 4.5]},
]
NAMED_COLUMNS = {
    "tag": ["foo", "bar"],
    "signal": [[1, 2, 3], [4, 5, 6]],
    "sensor": [[1, 2], [3, 4.5]],
}
