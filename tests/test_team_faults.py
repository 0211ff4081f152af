"""What a team meets: servers that die half-way, and others who push at the same moment."""

import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from relay import Direction
from repository import Repository
from servers import Remote
from team import CORE, content, join, oid, share

BIG = "data/big.bin"
SIZE = 1 << 23
HALF = SIZE // 2


def add_big(repository: Repository, seed: int = 0) -> str:
    """Track a file of 8 MiB; its oid."""
    noise = np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8).tobytes()
    (repository.path / BIG).write_bytes(noise)
    repository.dvc("add", BIG)
    repository.commit("Add something big")
    tracked = YAML(typ="safe").load((repository.path / f"{BIG}.dvc").read_text())
    return str(tracked["outs"][0]["md5"])


def fail(repository: Repository, *command: str) -> str:
    """A command that fails without a traceback; what it says."""
    done = repository.run(*command, check=False)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    assert "ERROR: " in done.stderr
    return done.stderr


def cut_during(repository: Repository, remote: Remote, direction: Direction, *command: str) -> None:
    """Kill the server once half of the big file has passed; the command fails; start it again."""
    assert remote.relay is not None
    home = repository.path.parent / f"{repository.path.name}-home"
    (home / ".aws").mkdir(parents=True, exist_ok=True)
    (home / ".aws/config").write_text("[default]\nmax_attempts = 1\n")  # it would try for minutes
    remote.relay.cut_after(direction, HALF, remote.down)
    fail(repository, *command)
    assert remote.relay.was_cut.is_set()
    remote.down()
    remote.up()
    remote.relay.restore()


def kill_during_push(repository: Repository, shared: Path) -> None:
    """Kill ``dvc push`` into a folder as soon as something of the big file is there."""
    environment = os.environ | {"HOME": str(repository.path.parent), "DVC_NO_ANALYTICS": "1"}
    process = subprocess.Popen(
        ["dvc", "push"], cwd=repository.path, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not any(path.is_file() for path in shared.rglob("*")):
        assert time.monotonic() < end
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("server", ["folder", "ssh", "s3", "webdav"], indirect=True)
def test_a_push_that_was_broken_off_is_completed_by_the_next(
    first: Repository, remote: Remote
) -> None:
    name = add_big(first)
    remote.configure(first)
    first.commit("Share it")
    if remote.folder is not None and remote.relay is None:
        kill_during_push(first, remote.folder)
    else:
        cut_during(first, remote, "push", "dvc", "push")
    first.dvc("push")
    assert remote.read(name) == content(first, BIG)
    done = first.run("core-tokens", "doctor", "--remote", "team", check=False)
    assert done.returncode == 0, done.stdout
    second = join(first, remote, "b")
    second.dvc("pull", "--remote", "team")
    assert content(second, BIG) == content(first, BIG)
    assert content(second, CORE) == content(first, CORE)


@pytest.mark.parametrize("server", ["ssh", "s3", "webdav", "http"], indirect=True)
def test_a_pull_that_was_broken_off_leaves_nothing_and_is_completed_by_the_next(
    first: Repository, remote: Remote
) -> None:
    name = add_big(first)
    share(first, remote)
    second = join(first, remote, "b")
    cut_during(second, remote, "pull", "dvc", "pull", f"{BIG}.dvc")
    assert not (second.path / BIG).exists()
    assert not list((second.path / ".dvc/cache").rglob(name[2:]))
    second.dvc("pull", f"{BIG}.dvc")
    assert content(second, BIG) == content(first, BIG)
    left = [path for path in (second.path / ".dvc/cache").rglob("*") if path.suffix == ".tmp"]
    assert left == []


@pytest.mark.parametrize("server", ["folder", "ssh", "s3", "webdav"], indirect=True)
def test_two_push_at_once_the_same_and_each_something_of_their_own(
    first: Repository, remote: Remote
) -> None:
    remote.configure(first)
    first.commit("Share it")
    second = Repository(first.path.parent / "b")
    shutil.copytree(first.path, second.path, symlinks=True)
    name = add_big(first, seed=1)
    other = add_big(second, seed=2)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(one.run, "dvc", "push", check=False) for one in (first, second)]
        done = [one.result() for one in both]
    # Whoever comes second may be told that a file is there already; the next push says it all.
    assert all("Traceback" not in one.stderr for one in done)
    for one in (first, second):
        one.dvc("push")
        one.run("core-tokens", "doctor", "--remote", "team")
    assert remote.read(name) == content(first, BIG)
    assert remote.read(other) == content(second, BIG)
    assert remote.read(oid(first, CORE)) == content(first, CORE)
