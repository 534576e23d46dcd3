import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_radn.files import written_beside


def markdown_table(
    rows: Sequence[Mapping], columns: Mapping[str, tuple[str, str]]
) -> str:
    """Rows as a Markdown table.

    Args:
        rows: a mapping of values each.
        columns: title and format of the values of each key; the first column
            is that of the names, on the left.
    """
    titles, *lines = _cells(rows, columns)
    lines = [titles, ["---", *["---:"] * (len(columns) - 1)], *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text_table(
    rows: Sequence[Mapping], columns: Mapping[str, tuple[str, str]]
) -> str:
    """Rows as a table for a terminal, its columns aligned.

    Args:
        rows: as in `markdown_table`.
        columns: as in `markdown_table`.
    """
    lines = _cells(rows, columns)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(rows, columns):
    titles = [title for title, _ in columns.values()]
    return [
        titles,
        *(
            [f"{row[key]:{form}}" for key, (_, form) in columns.items()]
            for row in rows
        ),
    ]


def write_csv(path: Path, rows: Sequence[Mapping], columns: Sequence) -> None:
    """Writes rows as a CSV file.

    Args:
        path: the file.
        rows: a mapping of values each.
        columns: the keys that are written.
    """
    with (
        written_beside(path) as partial,
        partial.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({key: row[key] for key in columns} for row in rows)
