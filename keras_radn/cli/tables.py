from collections.abc import Mapping, Sequence


def markdown_table(
    rows: Sequence[Mapping], columns: Mapping[str, tuple[str, str]]
) -> str:
    """Rows as a Markdown table.

    Args:
        rows: a mapping of values each.
        columns: title and format of the values of each key; the first column
            is that of the names, on the left.
    """
    lines = [
        [title for title, _ in columns.values()],
        ["---", *["---:"] * (len(columns) - 1)],
        *(
            [f"{row[key]:{form}}" for key, (_, form) in columns.items()]
            for row in rows
        ),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
