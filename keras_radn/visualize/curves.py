import os
from collections.abc import Mapping

import numpy as np

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        "Drawing needs Matplotlib: pip install 'keras-radn[visualize]'."
    ) from error

from keras_radn.files.training_log import read_log


def training_curves(logs: Mapping[str, str | os.PathLike]) -> Figure:
    """Training loss and validation PSNR over the steps, as in Figure 6.

    Args:
        logs: a `log.csv` of `keras_radn.training.train` for each label.

    Returns:
        A Matplotlib figure of two panels, or of one if nothing was validated.

    Raises:
        FileNotFoundError: if there is no such log.

    Example:

    ```python
    from keras_radn import visualize

    figure = visualize.training_curves({"mine": "run/log.csv"})
    figure.savefig("curves.png")
    ```
    """
    tables = {label: read_log(path) for label, path in logs.items()}
    panels = {"loss": "training loss"}
    if all(
        "val_psnr" in table.dtype.names and np.isfinite(table["val_psnr"]).any()
        for table in tables.values()
    ):
        panels["val_psnr"] = "validation PSNR, dB"
    figure = Figure(figsize=(5 * len(panels) + 2, 4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        for label, table in tables.items():
            shown = np.isfinite(table[column])
            axis.plot(table["step"][shown], table[column][shown], label=label)
        axis.set(xlabel="step", ylabel=title)
        axis.grid(alpha=0.3)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside right upper"
    )
    return figure
