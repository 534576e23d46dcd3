import sys


def say(text: str) -> None:
    """Prints a line about the work on stderr."""
    print(printable(f"keras-radn: {text}"), file=sys.stderr, flush=True)


def printable(text: object) -> str:
    """In one line, whatever is in the name of a file."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in str(text)
    )
