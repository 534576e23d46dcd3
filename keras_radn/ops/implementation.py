"""Names of the implementations of the deformable convolution."""

import os

IMPLEMENTATIONS = ("auto", "native", "gather")
VARIABLE = "KERAS_RADN_IMPLEMENTATION"


def requested(implementation: str) -> tuple[str, str]:
    """What is asked for, and by whom.

    Args:
        implementation: `"auto"`, `"native"` or `"gather"`.

    Returns:
        One of these, and what said so: the environment variable
        `KERAS_RADN_IMPLEMENTATION` comes before the argument.

    Raises:
        ValueError: if the name is not known.
    """
    source = "implementation"
    if os.environ.get(VARIABLE):
        source, implementation = VARIABLE, os.environ[VARIABLE]
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"`{source}` must be one of {IMPLEMENTATIONS}. "
            f"Received: {implementation!r}"
        )
    return implementation, source
