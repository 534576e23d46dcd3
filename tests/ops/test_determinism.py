import os
import subprocess
import sys

import pytest

from tests.ops import digest


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_concurrent_calls_give_the_same_bits(dtype):
    digests = digest.concurrent_digests(dtype, threads=20, calls=20)
    assert digests == {digest.digest(dtype)}


@pytest.mark.slow
def test_number_of_threads_does_not_change_a_bit():
    dtypes = ("float32", "bfloat16", "float64")
    printed = {" ".join(map(digest.digest, dtypes)) + "\n"}
    for threads in (1, 7):
        done = subprocess.run(
            [sys.executable, "-m", "tests.ops.digest"],
            env={**os.environ, "TF_NUM_INTRAOP_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1


@pytest.mark.nightly
@pytest.mark.parametrize(
    "instruction_set", ["portable", "avx2", "avx512", "avx512_bf16", "amx"]
)
def test_all_instruction_sets_agree_with_gather(instruction_set):
    """If the processor lacks one, the portable kernels run."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.fuzz", "--cases", "60"],
        env={**os.environ, "KERAS_RADN_CPU": instruction_set},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.split()[0] in (instruction_set, "portable")
