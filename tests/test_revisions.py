import os
import shutil
import subprocess
from pathlib import Path

import pytest

from core_tokens.errors import FileError, UsageError
from core_tokens.revisions import WORKSPACE, Revision, resolve

FILE = Path("data", "tiny", "core.json")
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "A Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org",
    "GIT_COMMITTER_NAME": "A Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.org",
}


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(content: bytes, path: Path = FILE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def commit(content: bytes, path: Path = FILE) -> str:
    """Write the file, commit everything, and return all 40 digits."""
    write(content, path)
    git("add", "--all")
    git("commit", "--quiet", "--message", "A change")
    return git("rev-parse", "HEAD")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in no repository, which is the current one."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in {**ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def first(outside: Path) -> str:  # noqa: ARG001 - it is the current folder
    """A repository with two commits, of which this is the first; the file is changed since."""
    git("init", "--quiet", "--initial-branch", "main")
    first = commit(b"first\n")
    commit(b"second\n")
    write(b"third\n")
    return first


# ---- names -----------------------------------------------------------------------------------


def test_commit_by_all_its_digits_by_some_and_by_its_place(first: str) -> None:
    for name in (first, first[:7], first.upper(), "HEAD~1", "main^", "main~1"):
        assert resolve(name) == Revision(name, first)
        assert resolve(name).read(FILE) == b"first\n"


def test_tag_that_is_annotated_is_the_commit_that_it_names(first: str) -> None:
    git("tag", "light", first)
    git("tag", "--annotate", "--message", "Heavy", "heavy", first)
    assert git("rev-parse", "heavy") != first
    for name in ("light", "heavy", "refs/tags/heavy", "tags/light"):
        assert resolve(name) == Revision(name, first)


def test_branch_with_a_slash(first: str) -> None:
    git("branch", "radius/2", first)
    assert resolve("radius/2").read(FILE) == b"first\n"
    assert resolve("main").read(FILE) == b"second\n"


@pytest.mark.parametrize("name", ["smaller", "gamey-debs", "a.b_c"])
def test_experiment_is_found_by_its_name(first: str, name: str) -> None:
    git("update-ref", f"refs/exps/ab/cdef0123456789abcdef0123456789abcdef01/{name}", first)
    assert resolve(name) == Revision(name, first)
    assert resolve(name).read(FILE) == b"first\n"
    assert git("for-each-ref", "refs/exps")  # it was read, not moved


def test_branch_goes_before_an_experiment_of_its_name(first: str) -> None:
    git("update-ref", "refs/exps/ab/cdef/both", first)
    git("branch", "both", "HEAD")
    assert resolve("both").commit == git("rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["cdef", "ab", "exec", "EXEC_BRANCH", "ab/cdef/smaller", "small"])
def test_part_of_a_reference_is_no_experiment(first: str, name: str) -> None:
    git("update-ref", "refs/exps/ab/cdef/smaller", first)
    git("update-ref", "refs/exps/exec/EXEC_BRANCH", first)
    with pytest.raises(UsageError):
        resolve(name)


UNKNOWN = {
    "no such name": "other",
    "nothing": "",
    "a space": " ",
    "no such digits": "0123456789abcdef0123456789abcdef01234567",
    "a range": "HEAD~1..HEAD",
    "an exclusion": "^HEAD",
    "a file": "HEAD:data/tiny/core.json",
    "a folder": "HEAD^{tree}",
    "a pattern": "ma*",
    "an option": "--all",
    "an option that rev-parse knows": "--show-toplevel",
    "an option and a value": "--git-dir=/tmp",
    "a line break": "HEAD\nHEAD",
    "the working tree": WORKSPACE,
    "a shell command": "$(touch x)",
}


@pytest.mark.parametrize("name", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_name_is_refused_in_one_line(first: str, outside: Path, name: str) -> None:
    assert first
    before = sorted(outside.rglob("*"))
    with pytest.raises(UsageError) as error:
        resolve(name)
    line = str(error.value)
    assert line.startswith("--compare: found the revision ")
    assert line.endswith("; expected a commit, tag, branch or experiment of this project")
    assert "\n" not in line
    assert sorted(outside.rglob("*")) == before


def test_tag_of_a_file_is_no_revision(first: str) -> None:
    assert first
    git("tag", "blob", f"HEAD:{FILE}")
    with pytest.raises(UsageError, match="'blob'"):
        resolve("blob")


def test_branch_that_starts_with_a_dash_is_refused(first: str) -> None:
    git("update-ref", "refs/heads/-x", first)
    with pytest.raises(UsageError, match="'-x'"):
        resolve("-x")
    assert resolve("refs/heads/-x").commit == first


def test_folder_in_no_repository_has_no_revision(outside: Path) -> None:
    assert outside
    with pytest.raises(UsageError, match="of this project"):
        resolve("HEAD")


def test_repository_without_a_commit_has_no_revision(outside: Path) -> None:
    assert outside
    git("init", "--quiet")
    with pytest.raises(UsageError, match="'HEAD'"):
        resolve("HEAD")


def test_machine_without_git_says_so(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(outside))
    with pytest.raises(UsageError, match=r"^git: found no such command; expected Git"):
        resolve("HEAD")


# ---- files -----------------------------------------------------------------------------------


def test_working_tree_is_what_lies_there(first: str) -> None:
    assert first
    assert Revision(WORKSPACE).read(FILE) == b"third\n"


def test_file_that_is_not_there_is_none(first: str) -> None:
    write(b"new\n", Path("new.json"))
    for name in (first, "main"):
        assert resolve(name).read(Path("new.json")) is None
        assert resolve(name).read(Path("data/other/core.json")) is None
        assert resolve(name).read(FILE / "below") is None
    assert Revision(WORKSPACE).read(Path("other.json")) is None
    assert Revision(WORKSPACE).read(Path("new.json")) == b"new\n"


def test_file_that_is_gone_is_there_in_its_revision(first: str) -> None:
    FILE.unlink()
    assert Revision(WORKSPACE).read(FILE) is None
    assert resolve(first).read(FILE) == b"first\n"


def test_folder_in_place_of_a_file_is_refused(first: str) -> None:
    assert first
    with pytest.raises(FileError, match="a file that can be read"):
        Revision(WORKSPACE).read(FILE.parent)


@pytest.mark.parametrize("content", [b"", b"\x00\xff\r\n", b"a\r\nb", "\u4e5d\n".encode()])
def test_bytes_come_back_as_they_are(first: str, content: bytes) -> None:
    assert first
    git("config", "core.autocrlf", "false")
    git("config", "color.ui", "always")
    git("config", "core.pager", "cat -A")
    assert Revision("x", commit(content)).read(FILE) == content


@pytest.mark.parametrize("name", ["with space.csv", "\u4e5d.csv", "-x.csv", "a:b.csv", "*.csv"])
def test_names_of_files_are_taken_as_they_are(first: str, name: str) -> None:
    assert first
    found = Revision("x", commit(b"found\n", Path("data", name)))
    assert found.read(Path("data", name)) == b"found\n"


def test_project_in_a_subfolder_reads_its_own_files(
    first: str, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first
    shutil.rmtree(outside / "data")
    later = commit(b"below\n", Path("models", "project") / FILE)
    monkeypatch.chdir(outside / "models" / "project")
    assert resolve("HEAD").read(FILE) == b"below\n"
    assert resolve(first).read(FILE) is None  # it is there, but above
    assert Revision(WORKSPACE).state == later
    write(b"changed\n", outside / "other.txt")
    git("add", "--intent-to-add", str(outside / "other.txt"))
    assert Revision(WORKSPACE).state == later  # a change elsewhere is none of this project


# ---- states ----------------------------------------------------------------------------------


def test_state_of_a_revision_is_its_commit(first: str) -> None:
    git("tag", "v1", first)
    assert resolve("v1").state == first


def test_state_of_the_working_tree_says_whether_it_differs(first: str) -> None:
    assert first
    head = git("rev-parse", "HEAD")
    assert Revision(WORKSPACE).state == f"{head} and changes since"
    git("checkout", "--quiet", ".")
    assert Revision(WORKSPACE).state == head
    write(b"untracked\n", Path("notes.txt"))
    assert Revision(WORKSPACE).state == head


def test_state_without_a_repository_or_a_commit_says_so(outside: Path) -> None:
    assert outside
    assert Revision(WORKSPACE).state == "no Git commit"
    git("init", "--quiet")
    assert Revision(WORKSPACE).state == "no Git commit"
