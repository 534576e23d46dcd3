import pytest

from tests.ops import fuzz

CASES, QUICK = 400, 160


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_native_equals_gather(part):
    for seed in range(part, QUICK, 2):
        problem = fuzz.difference(seed)
        assert problem is None, f"case {seed}: {problem}"


@pytest.mark.slow
def test_fused_equals_tensorflow():
    for seed in range(QUICK):
        problem = fuzz.difference_of_fused(seed)
        assert problem is None, f"case {seed}: {problem}"


@pytest.mark.nightly
@pytest.mark.parametrize(
    "difference", [fuzz.difference, fuzz.difference_of_fused]
)
def test_many_more_cases(difference):
    for seed in range(QUICK, CASES):
        problem = difference(seed)
        assert problem is None, f"case {seed}: {problem}"


def test_draws_every_kind_of_case():
    drawn = [fuzz.draw(seed) for seed in range(QUICK)]
    shapes = [tensors[0].shape for tensors, _ in drawn]
    assert any(shape[0] == 0 for shape in shapes)
    assert any(shape[1:3] == (1, 1) for shape in shapes)
    assert {tensors[0].dtype.name for tensors, _ in drawn} == set(
        fuzz.TOLERANCES
    )
    assert {len(tensors) for tensors, _ in drawn} == {3, 4}
    for name in ("padding", "strides", "dilation_rate", "offset_groups"):
        assert len({arguments[name] for _, arguments in drawn}) > 1
