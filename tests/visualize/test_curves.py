import numpy as np
import pytest

from keras_radn.visualize import training_curves

ROWS = "epoch,loss,step,val_psnr\n0,0.5,2,nan\n1,0.4,4,24.5\n"


def test_curves(tmp_path):
    """Each log has a line; steps without a validation are left out."""
    for name in "ab":
        (tmp_path / name).write_text(ROWS)
    figure = training_curves({name: tmp_path / name for name in "ab"})
    losses, psnrs = figure.axes
    assert losses.get_xlabel() == "step"
    assert psnrs.get_ylabel() == "validation PSNR, dB"
    [legend] = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["a", "b"]
    for axis, expected in (
        (losses, [[2, 0.5], [4, 0.4]]),
        (psnrs, [[4, 24.5]]),
    ):
        assert len(axis.lines) == 2
        for line in axis.lines:
            np.testing.assert_array_equal(line.get_xydata(), expected)


def test_without_validation(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss,step\n0,0.5,2\n")
    assert len(training_curves({"run": log}).axes) == 1
    with pytest.raises(FileNotFoundError):
        training_curves({"run": tmp_path / "none.csv"})
