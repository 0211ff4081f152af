"""Two clones and a remote between them: the same contract for every kind of remote."""

import json

import pytest

from repository import Repository, clone
from servers import Remote
from team import CORE, MATRIX, MEASUREMENTS, content, filling, join, oid, push, share


def test_a_core_travels_without_its_matrix_and_a_new_one_comes_back(
    first: Repository, remote: Remote
) -> None:
    share(first, remote)
    assert {oid(first, path) for path in (CORE, MEASUREMENTS, MATRIX)} <= remote.oids()
    assert remote.partial() == []

    second = join(first, remote, "b")
    second.dvc("pull", "measure@tiny", "extract@tiny")
    for path in (CORE, MEASUREMENTS):
        assert content(second, path) == content(first, path)
    assert not (second.path / MATRIX).exists()

    second.set_param("radius:", "radius: 1.0")
    assert second.ran("--pull", "--allow-missing") == {"extract@tiny", "analyse@tiny", "draw@tiny"}
    assert not (second.path / MATRIX).exists()
    second.commit("Radius 1")
    push(second, remote, "extract@tiny", "draw@tiny")

    first.run("git", "pull", "--quiet", str(second.path), "main")
    first.dvc("pull", "extract@tiny")
    assert content(first, CORE) == content(second, CORE)
    difference = json.loads(first.dvc("metrics", "diff", "--json", "HEAD~1", "HEAD"))
    tokens = difference["data/tiny/core.json"]["core.tokens"]
    assert tokens == {"old": 17, "new": 11, "diff": -6}
    assert first.git_status() == ""


def test_no_secret_is_in_git_or_printed(first: Repository, remote: Remote) -> None:
    share(first, remote)
    shown = first.run("git", "show", "HEAD:.dvc/config").stdout
    for secret in remote.secrets.values():
        assert secret not in shown
    assert "verify = true" in shown.partition("team")[2]


@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing"])
def test_a_corrupt_object_is_refused_and_nothing_of_it_stays(
    first: Repository, remote: Remote, harm: str
) -> None:
    share(first, remote)
    name = oid(first, CORE)
    held = remote.read(name)
    if harm == "missing":
        remote.remove(name)
    else:
        flipped = held[:-1] + bytes([held[-1] ^ 1])
        remote.write(name, flipped if harm == "flipped" else held[:-9])
    second = join(first, remote, "b")
    done = second.run("dvc", "pull", "measure@tiny", "extract@tiny", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "core_tokens.safetensors" in done.stderr or name in done.stderr
    assert not (second.path / CORE).exists()
    cache = second.path / ".dvc/cache/files/md5" / name[:2]
    assert not list(cache.glob("*"))
    assert content(second, MEASUREMENTS) == content(first, MEASUREMENTS)

    # What dvc push leaves as it is, for it goes by the name, the doctor of who has it mends.
    doctor = first.run("core-tokens", "doctor", "--remote", "team", check=False)
    if name not in remote.oids():  # DVC removes what is corrupt in a folder
        assert "not there; to mend it: dvc push --remote team" in doctor.stdout
        push(first, remote, "extract@tiny")
    elif remote.filled_by is None:
        assert doctor.returncode == 1
        assert "core-tokens doctor --fix" in doctor.stdout
        first.run("core-tokens", "doctor", "--remote", "team", "--fix")
    else:
        through = ("core-tokens", "doctor", "--fix", "--remote")
        assert first.run(*through, "team", check=False).returncode == 1
        first.run(*through, filling(first, remote))
    assert remote.read(name) == held
    second.dvc("pull", "extract@tiny")
    assert content(second, CORE) == content(first, CORE)


def test_who_may_not_is_told_so_and_gets_nothing(first: Repository, remote: Remote) -> None:
    if not remote.wrong:
        if remote.kind == "http":
            remote.configure(first)
            done = first.run("dvc", "push", check=False)
            assert done.returncode != 0
            assert "16 files failed to upload" in done.stderr
            assert remote.oids() == set()
        return  # a folder asks for nothing
    share(first, remote)
    other = clone(first, first.path.parent / "b")
    remote.configure(other, secrets=remote.wrong)
    done = other.run("dvc", "pull", "extract@tiny", check=False)
    assert done.returncode != 0
    assert not (other.path / CORE).exists()
    assert "Traceback" not in done.stderr
    for secret in remote.wrong.values():
        assert secret not in done.stdout + done.stderr or secret.startswith("/")
    doctor = other.run("core-tokens", "doctor", "--remote", "team", check=False)
    assert doctor.returncode == 1
    assert "problem: remote team: no answer (" in doctor.stdout
    held = remote.oids()
    assert other.run("dvc", "push", check=False).returncode != 0 or remote.oids() == held
