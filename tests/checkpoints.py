"""The trained models that are not ours to ship.

CORE_TOKENS_REAL_CHECKPOINTS names the folder that holds them; tests are skipped where it is not
there, unless CORE_TOKENS_REQUIRE_REAL=1 says that it must be (CI does).
"""

import os
from pathlib import Path

import pytest

from repository import ROOT


def real_checkpoints() -> Path:
    """The folder of the models, or no test."""
    named = os.environ.get("CORE_TOKENS_REAL_CHECKPOINTS", ROOT.parent / "shared" / "real")
    folder = Path(named).resolve()
    if not folder.is_dir():
        reason = "the checkpoints are not here: CORE_TOKENS_REAL_CHECKPOINTS names their folder"
        if os.environ.get("CORE_TOKENS_REQUIRE_REAL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
