import pytest

from tests.gpu import devices


def pytest_addoption(parser):
    parser.addoption(
        "--rehearse",
        action="store_true",
        help="run the tests of a GPU on the CPU, to test the tests",
    )


def pytest_configure(config):
    """Ends pytest where there is no GPU, rather than skipping."""
    chosen = config.option.markexpr == "gpu"
    if chosen and not rehearses(config) and not devices.gpus():
        pytest.exit(
            f"Keras on {devices.BACKEND} sees no GPU; `keras-radn info` says "
            "what is missing.",
            returncode=2,
        )


def rehearses(config):
    return config.getoption("--rehearse", False)


@pytest.fixture(scope="session")
def kind(request):
    """The kind of the device under test."""
    return "cpu" if rehearses(request.config) else "gpu"


@pytest.fixture(autouse=True, scope="session")
def exact():
    devices.compute_exactly()
