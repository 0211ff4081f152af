import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from core_tokens.disk import check_space
from core_tokens.errors import FileError

CONFIGS: dict[str, tuple[str, int]] = {
    "none": ("", 2),
    "another setting": ("[core]\n    autostage = true\n", 2),
    "copies": ("[cache]\n    type = copy\n", 2),
    "copy on write or copies": ("[cache]\n    type = reflink,copy\n", 2),
    "hard links": ("[cache]\n    type = hardlink\n", 1),
    "symbolic links": ("[cache]\n    type = symlink\n", 1),
    "copy on write or hard links": ("[cache]\n    type = reflink,hardlink\n", 1),
    "copies, then hard links": ("[cache]\n    type = copy,hardlink\n", 2),
    "another place": ("[cache]\n    dir = /not/there\n", 2),
    "another disk": ("[cache]\n    dir = /proc\n", 1),
    "broken": ("[cache\n", 2),
    "a type that is none": ("[cache]\n    type = telepathy\n", 2),
    "binary": ("\x00\x01", 2),
}
"""What may stand in DVC's configuration, and how often the matrix will then be on this disk."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without any configuration of DVC, not even that of whoever runs the tests."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def free(monkeypatch: pytest.MonkeyPatch, nbytes: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=nbytes))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("file", ["config", "config.local"])
def test_what_dvc_will_copy_is_counted(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    content, copies = CONFIGS[name]
    (here / ".dvc").mkdir()
    (here / ".dvc" / file).write_text(content)
    free(monkeypatch, copies * 1_500)
    check_space("a file", 1_500)
    free(monkeypatch, copies * 1_500 - 1)
    with pytest.raises(FileError) as caught:
        check_space("a file", 1_500)
    times = {1: "", 2: ", here and in DVC's cache"}[copies]
    assert str(caught.value) == (
        f"a file: found {copies * 1_500:,} bytes to write{times}; "
        f"expected at most {copies * 1_500 - 1:,}, all that is free"
    )


@pytest.mark.usefixtures("here")
def test_without_dvc_the_safe_number_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 199)
    with pytest.raises(FileError, match="200 bytes"):
        check_space("a file", 100)
    assert not Path(".dvc").exists()


@pytest.mark.usefixtures("here")
def test_a_real_disk_has_room_for_a_little_and_not_for_everything() -> None:
    check_space("a file", 1)
    with pytest.raises(FileError, match="all that is free"):
        check_space("a file", 1 << 60)
