"""A thousand files that were made to harm, through every reader."""

import subprocess
import sys
from pathlib import Path

import pytest

CASES, AT_ONCE = 1000, 250


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_a_hostile_file_is_refused_in_one_line(first: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", Path(__file__).with_name("hostile.py"), str(first),
         str(first + AT_ONCE)],
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.stdout == f"{AT_ONCE} cases, 0 went wrong\n", done.stdout + done.stderr[-3000:]
    assert done.returncode == 0
