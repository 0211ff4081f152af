"""Two clones and a remote between them: the same contract for every kind of remote."""

import json
import re

import pytest

from repository import ROOT, Repository, clone
from servers import HTTP, WEBDAV, Remote
from team import CORE, MATRIX, MEASUREMENTS, content, filling, join, oid, push, share


def test_a_core_travels_without_its_matrix_and_a_new_one_comes_back(
    first: Repository, remote: Remote
) -> None:
    share(first, remote)
    assert {oid(first, path) for path in (CORE, MEASUREMENTS, MATRIX)} <= remote.oids()
    assert remote.partial() == []
    config = first.run("git", "show", "HEAD:.dvc/config").stdout
    assert "verify = true" in config.partition("team")[2]
    assert not any(secret in config for secret in remote.secrets.values())

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


def test_what_is_corrupt_is_refused_and_nothing_of_it_stays(
    first: Repository, remote: Remote
) -> None:
    share(first, remote)
    flipped, truncated, missing = (oid(first, path) for path in (CORE, MEASUREMENTS, MATRIX))
    held = {name: remote.read(name) for name in (flipped, truncated, missing)}
    remote.write(flipped, held[flipped][:-1] + bytes([held[flipped][-1] ^ 1]))
    remote.write(truncated, held[truncated][:-9])
    remote.remove(missing)
    second = join(first, remote, "b")
    done = second.run("dvc", "pull", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for name, path in zip(held, (CORE, MEASUREMENTS, MATRIX), strict=True):
        assert path in done.stderr or name in done.stderr
        assert not (second.path / path).exists()
        assert not (second.path / ".dvc/cache/files/md5" / name[:2] / name[2:]).exists()
    for picture in (second.path / "data/tiny/pictures").iterdir():  # the rest is here, and right
        assert picture.read_bytes() == content(first, f"data/tiny/pictures/{picture.name}")

    # dvc push goes by the names, and leaves them; the doctor of who has the files does not.
    there = remote.oids()
    doctor = first.run("core-tokens", "doctor", "--remote", "team", check=False).stdout
    assert "not there; to mend it: dvc push --remote team" in doctor
    if remote.kind == "folder":  # of which DVC has removed what it found to be corrupt
        assert not {flipped, truncated} & there
    else:
        assert re.search(rf"problem: remote team: {CORE}: md5 .*doctor --fix", doctor)
        assert re.search(rf"problem: remote team: {MEASUREMENTS}: .* bytes, expected", doctor)
    through = filling(first, remote) if remote.filled_by else "team"
    if remote.filled_by:
        done = first.run("core-tokens", "doctor", "--remote", "team", "--fix", check=False)
        assert done.returncode == 1  # for one only reads it
    first.run("core-tokens", "doctor", "--remote", through, "--fix")
    push(first, remote)
    assert {name: remote.read(name) for name in held} == held
    second.dvc("pull")
    for path in (CORE, MEASUREMENTS, MATRIX):
        assert content(second, path) == content(first, path)


@pytest.mark.parametrize("server", ["ssh", "s3", "webdav"], indirect=True)
def test_who_may_not_is_told_so_and_gets_nothing(first: Repository, remote: Remote) -> None:
    share(first, remote)
    other = clone(first, first.path.parent / "b")
    remote.configure(other, secrets=remote.wrong)
    done = other.run("dvc", "pull", "extract@tiny", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not (other.path / CORE).exists()
    doctor = other.run("core-tokens", "doctor", "--remote", "team", check=False)
    assert doctor.returncode == 1
    assert "problem: remote team: no answer (" in doctor.stdout
    for name, secret in remote.wrong.items():
        said = done.stdout + done.stderr + doctor.stdout + doctor.stderr
        assert secret not in said or name == "keyfile"


def test_the_server_of_the_tests_is_set_up_as_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"```nginx\n{WEBDAV}```" in readme
    assert " ".join(HTTP.split()) in readme


@pytest.mark.parametrize("server", ["http"], indirect=True)
def test_what_is_only_read_is_not_pushed_to(first: Repository, remote: Remote) -> None:
    remote.configure(first)
    done = first.run("dvc", "push", check=False)
    assert done.returncode != 0
    assert "16 files failed to upload" in done.stderr
    assert remote.oids() == set()
