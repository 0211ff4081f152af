"""The contract between two machines: network namespaces, joined by a line that can be cut."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

import servers
from repository import Repository
from servers import Remote
from team import CORE, MATRIX, MEASUREMENTS, content, join, push, share
from test_team_faults import BIG, HALF, add_big, fail

SERVER, CLIENT = "10.203.113.1", "10.203.113.2"
IP = shutil.which("ip", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin") or "ip"


def ip(*arguments: str) -> str:
    done = subprocess.run([IP, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@dataclass(frozen=True)
class Line:
    """Two hosts, and what joins them."""

    here: str
    there: str

    @staticmethod
    def within(host: str) -> tuple[str, ...]:
        """What runs a command on a host."""
        return (IP, "netns", "exec", host)

    def received(self) -> int:
        """Bytes that have come from the other host, since the line was made."""
        done = subprocess.run(
            [*self.within(self.here), "cat", "/sys/class/net/line/statistics/rx_bytes"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(done.stdout)

    def set(self, state: str) -> None:
        """Up or down."""
        ip("-n", self.there, "link", "set", "line", state)

    def slow(self, rate: str) -> None:
        """So many bits may pass in a second, from there to here and from here to there."""
        for host in (self.here, self.there):
            subprocess.run(
                [*self.within(host), "tc", "qdisc", "replace", "dev", "line", "root", "tbf",
                 "rate", rate, "burst", "64kbit", "latency", "400ms"],
                check=True,
            )  # fmt: skip

    def wait_for(self, port: int) -> None:
        """Until the server answers."""
        end = time.monotonic() + 60
        probe = [*self.within(self.here), "bash", "-c", f"</dev/tcp/{SERVER}/{port}"]
        while subprocess.run(probe, capture_output=True, check=False).returncode:
            assert time.monotonic() < end
            time.sleep(0.05)


@dataclass(frozen=True)
class Here(Repository):
    """A clone on the machine that is the client."""

    host: str = ""

    def run(
        self, *command: str, check: bool = True, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return super().run(*Line.within(self.host), *command, check=check, typed=typed)


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    """Two hosts joined by a pair of virtual network cards; gone after the test."""
    mark = uuid4().hex[:6]
    hosts = Line(f"here-{mark}", f"there-{mark}")
    with ExitStack() as stack:
        try:
            for host in (hosts.here, hosts.there):
                ip("netns", "add", host)
                stack.callback(ip, "netns", "delete", host)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"no network namespaces: {getattr(error, 'stderr', error)}"
            if os.environ.get(servers.REQUIRED):
                pytest.fail(reason)
            pytest.skip(reason)
        ip("-n", hosts.there, "link", "add", "line", "type", "veth", "peer", "name", "line",
           "netns", hosts.here)  # fmt: skip
        for host, address in ((hosts.here, CLIENT), (hosts.there, SERVER)):
            ip("-n", host, "address", "add", f"{address}/30", "dev", "line")
            for name in ("line", "lo"):
                ip("-n", host, "link", "set", name, "up")
        yield hosts


@contextmanager
def served(kind: str, line: Line, beside: Path) -> Iterator[Remote]:
    """A server on the other machine."""
    start = {"ssh": servers.ssh, "http": servers.http}[kind]
    with start(beside, SERVER, *Line.within(line.there)) as remote:
        line.wait_for(int(remote.url.split(":")[2].split("/")[0]))
        yield remote


@pytest.fixture(scope="module", params=["ssh", "http"])
def far(
    request: pytest.FixtureRequest, line: Line, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    with served(request.param, line, tmp_path_factory.mktemp(request.param)) as remote:
        yield remote


@pytest.fixture
def here(first: Repository, line: Line) -> Here:
    return Here(first.path, line.here)


def test_a_core_travels_between_two_machines(here: Here, far: Remote) -> None:
    assert here.run("bash", "-c", "</dev/tcp/127.0.0.1/22", check=False).returncode  # no others
    share(here, far)
    other = Here(join(here, far, "b").path, here.host)
    other.dvc("pull", "measure@tiny", "extract@tiny")
    for path in (CORE, MEASUREMENTS):
        assert content(other, path) == content(here, path)
    assert not (other.path / MATRIX).exists()
    other.set_param("radius:", "radius: 1.0")
    other.dvc("repro", "--pull", "--allow-missing", "extract@tiny")
    other.commit("Radius 1")
    push(other, far, "extract@tiny")
    here.run("git", "pull", "--quiet", str(other.path), "main")
    here.dvc("pull", "extract@tiny")
    assert content(here, CORE) == content(other, CORE)


def test_a_line_that_is_cut_half_way_leaves_nothing_half_and_the_next_pull_completes(
    here: Here, far: Remote, line: Line
) -> None:
    name = add_big(here)
    share(here, far)
    other = Here(join(here, far, "b").path, here.host)
    # What notices that a line is dead, as the README has it; DVC over SSH would wait for ever.
    if far.kind == "ssh":
        settings = other.path.parent / "b-home/.ssh/config"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text("ServerAliveInterval 2\nServerAliveCountMax 2\n")
    else:
        other.dvc("config", "--local", "remote.team.url", far.url)
        other.dvc("config", "--local", "remote.team.read_timeout", "5")
    line.slow("30mbit")
    before = line.received()

    def cut() -> None:
        end = time.monotonic() + 60
        while line.received() - before < HALF and time.monotonic() < end:
            time.sleep(0.01)
        line.set("down")

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        fail(other, "dvc", "pull", f"{BIG}.dvc")
    finally:
        cutting.join()
        line.set("up")
        line.slow("10gbit")
    assert line.received() - before < HALF + (1 << 20)
    assert not (other.path / BIG).exists()
    assert not list((other.path / ".dvc/cache").rglob(name[2:]))
    other.dvc("pull", f"{BIG}.dvc")
    assert content(other, BIG) == content(here, BIG)
