from pathlib import Path

import pytest

from core_tokens import lockfile
from core_tokens.errors import FileError

LOCK = """\
schema: '2.0'
stages:
  measure@a:
    cmd: python -m core_tokens.stages.measure a
    deps:
    - path: data/a/W.safetensors
      md5: 0e1f
  measure@b-a:
    cmd: python -m core_tokens.stages.measure b-a
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stages_of_one_model_go_and_the_rest_keeps_its_bytes() -> None:
    lockfile.PATH.write_text(LOCK)
    left = LOCK[: LOCK.index("  measure@a:")] + LOCK[LOCK.index("  measure@b-a:") :]
    assert lockfile.without_model("a") == left
    assert lockfile.PATH.read_text() == LOCK


@pytest.mark.parametrize("text", [LOCK, "", "schema: '2.0'\n", "schema: '2.0'\nstages:\n"])
def test_a_model_without_stages_needs_no_change(text: str) -> None:
    lockfile.PATH.write_text(text)
    assert lockfile.without_model("c") is None


def test_without_a_lock_file_there_is_nothing_to_change() -> None:
    assert lockfile.without_model("a") is None


@pytest.mark.parametrize("content", [b"stages: [", b"[1]", b"\xff", b"stages: 3\n", b"a: *b\n"])
def test_what_dvc_did_not_write_is_refused(content: bytes) -> None:
    lockfile.PATH.write_bytes(content)
    with pytest.raises(FileError, match=r"^dvc\.lock: found no valid lock file; .*git checkout"):
        lockfile.without_model("a")
