from types import SimpleNamespace

import numpy as np
import pytest

from keras_radn.visualize.scaling import scaling


def test_time_over_pixels_beside_proportion():
    measurements = [
        SimpleNamespace(
            preset="radn_final",
            dtype=dtype,
            width=width,
            height=500,
            tiles=1 + (width > 3000),
            seconds=width / speed,
        )
        for dtype, speed in (("float32", 1000), ("bfloat16", 2000))
        for width in (4000, 1000, 2000)
    ]
    [axis] = scaling(measurements).axes
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["radn_final bfloat16", "radn_final float32"]
    measured, *markers, proportion = axis.lines[:5]
    np.testing.assert_allclose(measured.get_xdata(), [0.5, 1, 2])
    np.testing.assert_allclose(measured.get_ydata(), [0.5, 1, 2])
    np.testing.assert_allclose(proportion.get_ydata(), measured.get_ydata())
    assert [m.get_fillstyle() for m in markers] == ["full", "full", "none"]
    assert pytest.approx(axis.lines[5].get_ydata()) == [1, 2, 4]
