"""A survey whose store, disk or hub fails: one line, nothing half, and the next takes up the rest.

Stores are real: folders, file systems that are full or read-only, S3 by moto, SSH by OpenSSH.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import project
import servers
from core_tokens.survey import record
from disks import Disk, mounted
from hub_server import Hub, Status, sharded_checkpoint
from project import Done
from servers import Remote
from survey_cluster import (
    NAME,
    Project,
    Truth,
    check,
    check_refused,
    ended,
    kept,
    matrix,
    serially,
    some_are_kept,
    write_steps,
)

FEW, FEWER = 100, 25
FULL = "No space left on device"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """Some checkpoints, surveyed in one process."""
    return surveyed(tmp_path_factory.mktemp("few"), FEW)


@pytest.fixture(scope="module")
def fewer(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """Fewer, for servers that are slow."""
    return surveyed(tmp_path_factory.mktemp("fewer"), FEWER)


def surveyed(folder: Path, count: int) -> Truth:
    write_steps(folder / "run", range(count))
    made = Project(folder / "project")
    made.write_params("../run/*.safetensors", "../run/missing")
    return serially(made, folder / "store")


@pytest.fixture
def made(few: Truth, tmp_path: Path) -> Project:
    """The same, of which nothing was made yet."""
    return few.again(tmp_path.name)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk") as found:
        yield found


def here(made: Project, *arguments: str) -> Done:
    """The survey in this very process, without the second that another one takes to start."""
    return project.Project(made.folder).command_here("survey", NAME, "--workers", "0", *arguments)


def check_whole(store: Path) -> int:
    """All that is kept is whole, and nothing else lies there; how many results."""
    found = kept(store)
    for path, (_, content) in found.items():
        record.from_bytes(str(path), content)
    others = {path.relative_to(store) for path in store.rglob("*") if path.is_file()} - set(found)
    aliases = {path for path in others if path.suffix == ".key"}
    assert others - aliases <= {Path("ballast")}
    assert {(store / path).read_text() for path in aliases} <= {path.stem for path in found}
    return len(found)


# ---- the disk under the store ----------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_store_that_is_full_ends_the_survey_and_takes_the_rest_when_there_is_room(
    few: Truth, made: Project, disk: Disk, workers: str
) -> None:
    def survey() -> Done:
        arguments = ("--workers", workers, "--store", str(disk.folder))
        return here(made, *arguments[2:]) if workers == "0" else made.survey(*arguments)

    results = 0
    for pages in (0, 60) if workers == "0" else (60,):
        disk.leave(pages)
        check_refused(survey(), made, str(disk.folder), "written", FULL)
        results = check_whole(disk.folder)
        assert (results > 0) == (pages > 0)
        disk.clear()
    assert results < FEW
    check(survey(), made, few, reused=results)
    assert check_whole(disk.folder) == FEW


def test_a_store_that_is_read_only_is_refused_before_anything_is_done(
    few: Truth, made: Project, disk: Disk
) -> None:
    shutil.copytree(few.store, disk.folder, dirs_exist_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
    check_refused(
        here(made, "--store", str(disk.folder)), made, str(disk.folder), "Read-only file system"
    )


def test_a_store_that_one_may_not_write_to_is_refused(made: Project, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o555)
    # Root may write everywhere, unless what allows it to is taken away.
    less = "-dac_override,-dac_read_search"
    mortal = ("setpriv", f"--bounding-set={less}", f"--inh-caps={less}")
    one = Project(made.folder, within=mortal if os.geteuid() == 0 else ())
    done = one.survey("--workers", "0", "--store", str(store))
    check_refused(done, made, str(store), "Permission denied")
    assert not list(store.iterdir())


def test_a_file_in_place_of_the_store_is_refused(made: Project, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    check_refused(here(made, "--store", str(tmp_path / "store")), made, str(tmp_path / "store"))
    assert (tmp_path / "store").read_text() == "no folder"


@pytest.mark.parametrize(
    ("store", "mentions"),
    [
        ("nosuch://here", ("nosuch",)),
        ("nosuch://ada:password@here", ("--store", "password")),
        ("https://127.0.0.1:1/store", ("https://127.0.0.1:1/store",)),
        ("s3://[", ("--store",)),
    ],
)
def test_a_url_that_is_no_store_is_refused(
    made: Project, store: str, mentions: tuple[str, ...]
) -> None:
    done = here(made, "--store", store)
    check_refused(done, made, *mentions)
    assert "ada" not in done.err


def test_a_store_that_vanishes_ends_the_survey_and_the_next_makes_it_anew(
    few: Truth, made: Project, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    running = made.start("--workers", "1", "--store", str(store))
    some_are_kept(store, running, FEW, 20)
    os.killpg(running.pid, signal.SIGSTOP)
    shutil.rmtree(store)
    os.killpg(running.pid, signal.SIGCONT)
    check_refused(ended(running), made, str(store))
    check(made.survey("--workers", "0", "--store", str(store)), made, few, reused=None)
    assert check_whole(store) == FEW


SPOILED: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[:-1],
    "cut in its header": lambda content: content[:20],
    "another bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "longer": lambda content: content + b"\0",
    "something else": lambda _: b"version https://git-lfs.github.com/spec/v1\n",
}


def test_a_result_that_is_not_whole_is_done_again(
    few: Truth, made: Project, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(few.store, store)
    good = kept(store)
    for path, spoil in zip(sorted(good), SPOILED.values(), strict=False):
        (store / path).write_bytes(spoil(good[path][1]))
    check(here(made, "--store", str(store)), made, few, reused=FEW - len(SPOILED))
    assert check_whole(store) == FEW
    after = kept(store)
    for path in sorted(good)[len(SPOILED) :]:
        assert after[path] == good[path]


def test_a_folder_in_place_of_a_result_is_one_line(
    few: Truth, made: Project, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(few.store, store)
    path = store / min(kept(store))
    path.unlink()
    path.mkdir()
    check_refused(here(made, "--store", str(store)), made, str(store))


# ---- the disk under the outputs --------------------------------------------------------------


def test_outputs_for_which_there_is_no_room_leave_those_that_were_there(
    few: Truth, disk: Disk
) -> None:
    one = Project(disk.folder / "project")
    one.folder.mkdir()
    run = few.project.folder.parent / "run"
    one.write_params(f"{run}/*.safetensors")
    assert here(one, "--store", str(few.store)).code == 0
    before = one.outputs()
    text = (one.folder / "params.yaml").read_text()
    (one.folder / "params.yaml").write_text(text.replace("radii: [1, 3]", "radii: [0, 1, 2]"))
    sizes = [len(content) for content in before.values()]
    for pages in (0, 1, sum(sizes) // 4096 // 2, sum(sizes) // 4096 - 1):
        disk.leave(pages)
        done = here(one, "--store", str(few.store))
        assert (done.code, done.out) == (1, ""), done
        assert done.err.startswith(f"error: data/surveys/{NAME}/"), done
        assert FULL in done.err, done
        assert done.err.count("\n") == 1, done
        assert one.outputs() == before
        assert not list(one.data.rglob(".*"))
        disk.clear()
    assert here(one, "--store", str(few.store)).code == 0
    assert one.outputs().keys() == before.keys()
    assert one.outputs() != before


# ---- stores elsewhere ------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A store behind a URL, what one needs for it, and what it holds."""

    url: str
    environment: Mapping[str, str]
    remote: Remote


@pytest.fixture(scope="module", params=["s3", "ssh"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """S3, or an account with SFTP, behind a relay that can cut the line."""
    beside = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        remote = stack.enter_context(servers.KINDS[request.param](beside))
        if request.param == "s3":
            yield Place(
                "s3://bucket/surveys",
                {
                    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{remote.relay.port}",
                    "AWS_ACCESS_KEY_ID": remote.secrets["access_key_id"],
                    "AWS_SECRET_ACCESS_KEY": remote.secrets["secret_access_key"],
                    "AWS_DEFAULT_REGION": "us-east-1",
                    "AWS_MAX_ATTEMPTS": "1",
                },
                remote,
            )
        else:
            home = beside / "home"
            (home / ".ssh").mkdir(parents=True)
            shutil.copy(beside / "key", home / ".ssh/id_ed25519")
            host = (beside / "host-key.pub").read_text()
            port = remote.relay.port
            (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {host}")
            (beside / "files").mkdir(exist_ok=True)
            yield Place(f"ssh://root@127.0.0.1:{port}{beside}/files", {"HOME": str(home)}, remote)


def copied(place: Place, folder: Path) -> Path:
    """What a place holds, as a folder."""
    if place.remote.folder is not None:
        return place.remote.folder
    for entry in place.remote.bucket.objects.all():
        path = folder / entry.key.removeprefix("surveys/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.get()["Body"].read())
    return folder


def test_a_store_behind_a_url_gives_the_bytes_of_a_folder(
    fewer: Truth, place: Place, tmp_path: Path
) -> None:
    made = fewer.again(tmp_path.name, **place.environment)
    # A line that is cut in the middle.
    assert place.remote.relay is not None
    place.remote.relay.cut_after("push", 30_000, lambda: None)
    check_refused(made.survey("--workers", "0", "--store", place.url), made, place.url)
    assert place.remote.relay.was_cut.is_set()
    place.remote.relay.restore()
    # Two at once, one of which has a cluster.
    other = fewer.again(f"{tmp_path.name}-other", **place.environment)
    running = made.start("--workers", "1", "--store", place.url)
    check(other.survey("--workers", "0", "--store", place.url), other, fewer, reused=None)
    check(ended(running), made, fewer, reused=None)
    # What is there is taken up, unless it is not whole.
    for path in sorted(kept(fewer.store))[:2]:
        spoil(place, path)
    shutil.rmtree(made.data)
    check(made.survey("--workers", "0", "--store", place.url), made, fewer, reused=FEWER - 2)
    found = copied(place, tmp_path / "copy")
    whole = kept(found)
    assert whole.keys() == kept(fewer.store).keys()
    for name, (_, content) in whole.items():
        record.from_bytes(str(name), content)


def spoil(place: Place, path: Path) -> None:
    """Have half of a result where the whole was."""
    if place.remote.folder is not None:
        there = place.remote.folder / path
        there.write_bytes(there.read_bytes()[:100])
    else:
        place.remote.bucket.put_object(Key=f"surveys/{path}", Body=b"half")


def test_a_place_that_lets_nobody_in_is_one_line(
    fewer: Truth, place: Place, tmp_path: Path
) -> None:
    stranger = {
        "AWS_SECRET_ACCESS_KEY": "another", "HOME": str(tmp_path / "nobody"),
    }  # fmt: skip
    (tmp_path / "nobody").mkdir()
    made = fewer.again(tmp_path.name, **{**place.environment, **stranger})
    done = made.survey("--workers", "0", "--store", place.url)
    check_refused(done, made, place.url)
    assert "another" not in done.err


def test_two_surveys_at_once_in_one_store_do_not_disturb_each_other(
    few: Truth, made: Project, tmp_path: Path
) -> None:
    store, other = tmp_path / "store", few.again(f"{tmp_path.name}-other")
    running = [one.start("--workers", "1", "--store", str(store)) for one in (made, other)]
    for one, process in zip((made, other), running, strict=True):
        check(ended(process), one, few, reused=None)
    assert check_whole(store) == FEW


# ---- a hub that fails ------------------------------------------------------------------------


def test_what_a_hub_fails_to_give_is_asked_for_again_and_then_said(tmp_path: Path) -> None:
    names = [f"org/m{nth}" for nth in range(4)]
    repos = {
        name: sharded_checkpoint(tmp_path / name, [{"lm_head.weight": matrix(nth)}])
        for nth, name in enumerate(names)
    }
    with Hub(repos) as hub:
        made = Project(tmp_path / "project", hub.environment(tmp_path / "home"))
        made.write_params(*(f"hf://{name}" for name in names))
        # Not what the hub's client would ask for again itself.
        hub.faults.add("/api/models/org/m1*", Status(404), times=2)
        hub.faults.add("/api/models/org/m2*", Status(404), times=None)
        done = made.survey("--workers", "1", "--store", str(tmp_path / "store"))
        asked = [request.path for request in hub.log if "/api/models/org/m2" in request.path]
        hub.faults.clear()
        again = made.survey("--workers", "1", "--store", str(tmp_path / "store"))
    assert (done.code, done.err) == (0, ""), done
    assert "4 checkpoints, 3 succeeded (0 of them from the store), 1 failed" in done.out
    assert "failed: hf://org/m2: found" in done.out
    assert len(asked) == 3
    assert "4 succeeded (3 of them from the store), 0 failed" in again.out
    rows = parquet.read_table(made.data / "survey.parquet").to_pylist()
    assert [row["cluster_tokens"] for row in rows[::2]] == [8, 15, 22, 29]


def test_no_room_for_a_matrix_of_the_hub_ends_the_survey(tmp_path: Path, disk: Disk) -> None:
    large = np.tile(matrix(0), (100, 1))
    repos = {"org/m": sharded_checkpoint(tmp_path / "m", [{"lm_head.weight": large}])}
    with Hub(repos) as hub:
        environment = hub.environment(tmp_path / "home") | {"TMPDIR": str(disk.folder)}
        made = Project(tmp_path / "project", environment)
        made.write_params("hf://org/m")
        disk.leave(2)
        done = made.survey("--workers", "0", "--store", str(tmp_path / "store"))
        check_refused(done, made, str(disk.folder), "no room for a matrix", "TMPDIR")
        assert {path.name for path in disk.folder.iterdir()} == {"ballast"}
        disk.clear()
        done = made.survey("--workers", "0", "--store", str(tmp_path / "store"))
    assert (done.code, done.err) == (0, ""), done
