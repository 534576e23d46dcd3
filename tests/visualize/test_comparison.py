import pytest

from keras_radn.visualize.comparison import Point, accuracy_over_time

POINTS = [
    Point("radn_final", 1.0, 31.0, measured=True),
    Point("radn_final", 0.04, 31.8, measured=False),
    Point("srn", 1.6, 30.1, measured=False),
]


def test_measured_and_reported_points_are_apart():
    measured, reported = accuracy_over_time(POINTS).axes
    assert [a.get_title() for a in (measured, reported)] == [
        "measured here",
        "reported",
    ]
    assert [line.get_fillstyle() for line in measured.lines] == ["full"]
    assert [line.get_fillstyle() for line in reported.lines] == ["none"] * 2
    assert list(reported.lines[1].get_xdata()) == [1.6]
    assert list(reported.lines[1].get_ydata()) == [30.1]
    assert [text.get_text() for text in reported.texts] == ["radn_final", "srn"]


def test_reported_psnr_over_measured_time():
    point = Point("srn", 8.0, 30.1, measured=True, psnr_measured=False)
    axes = accuracy_over_time([*POINTS, point]).axes
    assert [len(axis.lines) for axis in axes] == [1, 1, 2]
    assert axes[1].get_title() == "time measured here, PSNR reported"
    assert axes[1].lines[0].get_fillstyle() == "left"


def test_a_kind_without_points_has_no_panel():
    [axis] = accuracy_over_time(POINTS[1:]).axes
    assert axis.get_title() == "reported"
    with pytest.raises(ValueError, match="nothing to draw"):
        accuracy_over_time([])
