"""The log of a run that goes on."""

import csv
import math

import numpy as np

from keras_radn.files.training_log import COLUMNS
from keras_radn.training import run_folder


def test_rows_after_the_checkpoint_are_cut(tmp_path):
    log = tmp_path / "log.csv"
    run_folder._cut_log(log, 0)
    assert not log.exists()
    for text, steps, psnr, best in (
        ("", None, None, -math.inf),  # killed in the first epoch
        ("step,val_psnr\n5,9\n7,NA\n8,10\n", [5, 7], [9, math.nan], 10),
        ("step,val_psnr\n5,nan\n", [5], [math.nan], -math.inf),
        ("step,val_step\n5,1\n", [5], [math.nan], -math.inf),
        ("step,val_psnr\n8,9\n", [], [], 9),
    ):
        log.write_text(text)
        assert run_folder._best_psnr(log) == best
        run_folder._cut_log(log, 7)
        if steps is None:
            assert log.read_text() == ""
            continue
        with log.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        assert tuple(reader.fieldnames) == COLUMNS
        assert [float(row["step"]) for row in rows] == steps
        np.testing.assert_array_equal(
            [float(row["val_psnr"].replace("NA", "nan")) for row in rows], psnr
        )
