"""The five kinds of remote, for real: a folder, and servers on loopback that end with the test.

SSH by OpenSSH, S3 by moto, which checks signatures, WebDAV and HTTP by nginx. All but the folder
lie behind a relay, which can cut the line.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from relay import Relay
from repository import Repository

REQUIRED = "CORE_TOKENS_REQUIRE_SERVERS"
"""Set where the programs have to be there: that one is not is then a failure, no reason to skip."""
MODULE = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
NGINX = """\
{modules}
daemon off;
worker_processes 1;
user {user};
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {address}:{port};
{location}
  }}
}}
"""
WEBDAV = """\
    location /core-tokens/ {
      root ROOT;
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS;
      create_full_put_path on;
      client_max_body_size 0;
      auth_basic "core-tokens";
      auth_basic_user_file PASSWORDS;
    }
"""
"""What the README says of nginx for WebDAV, with names for the two paths."""
HTTP = """\
    location /core-tokens/ {
      root ROOT;
    }
"""
"""And for a mirror that one only reads."""
SSHD = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host-key
AuthorizedKeysFile {folder}/authorized-keys
PidFile {folder}/pid
UsePAM no
StrictModes no
PasswordAuthentication no
Subsystem sftp internal-sftp
"""
PASSWORD = "a 'password' # & 100%, \\ and $HOME"


@dataclass
class Remote:
    """A remote as a team has it: where it is, what one needs for it, and what it holds.

    Attributes:
        kind: folder, ssh, s3, webdav or http.
        url: of it.
        options: of ``core-tokens remote add``, as ``--set`` takes them.
        secrets: option -> what is typed when it is asked for.
        wrong: the same, of someone who may not.
        filled_by: the remote to push to, where one may only read this one.
        relay: between it and the clients, None of a folder.
        down: kills the server; ``up`` starts it again, with what it had.
    """

    kind: str
    url: str
    options: tuple[str, ...] = ()
    secrets: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    filled_by: "Remote | None" = None
    relay: Relay | None = None
    down: Callable[[], None] = lambda: None
    up: Callable[[], None] = lambda: None
    folder: Path | None = None
    bucket: Any = None

    def configure(
        self, repository: Repository, name: str = "team", secrets: dict[str, str] | None = None
    ) -> None:
        """``core-tokens remote add``, secrets on its input, as default remote."""
        secrets = self.secrets if secrets is None else secrets
        settings = [word for option in (*self.options, *secrets) for word in ("--set", option)]
        repository.run(
            "core-tokens", "remote", "add", name, self.url, *settings, "--default",
            typed="".join(f"{secret}\n" for secret in secrets.values()),
        )  # fmt: skip

    # What it holds, by oid.

    def oids(self) -> set[str]:
        """All objects."""
        return {key.removeprefix("files/md5/").replace("/", "") for key in self._keys()}

    def read(self, oid: str) -> bytes:
        """The bytes of an object."""
        if self.folder is not None:
            return self._path(oid).read_bytes()
        return bytes(self.bucket.Object(self._key(oid)).get()["Body"].read())

    def write(self, oid: str, content: bytes) -> None:
        """Have other bytes under the name of an object."""
        if self.folder is not None:
            path = self._path(oid)
            path.chmod(0o644)
            path.write_bytes(content)
        else:
            self.bucket.put_object(Key=self._key(oid), Body=content)

    def remove(self, oid: str) -> None:
        """Lose an object."""
        if self.folder is not None:
            self._path(oid).unlink()
        else:
            self.bucket.Object(self._key(oid)).delete()

    def partial(self) -> list[str]:
        """What lies there under names that are no object's."""
        return sorted(key for key in self._all() if key not in self._keys())

    def _all(self) -> list[str]:
        if self.folder is not None:
            return [
                str(path.relative_to(self.folder))
                for path in self.folder.rglob("*") if path.is_file()
            ]  # fmt: skip
        return [entry.key.removeprefix("core-tokens/") for entry in self.bucket.objects.all()]

    def _keys(self) -> list[str]:
        def is_object(key: str) -> bool:
            name = key.removeprefix("files/md5/").replace("/", "").removesuffix(".dir")
            return len(name) == 32 and not set(name) - set("0123456789abcdef")

        return [key for key in self._all() if is_object(key)]

    def _path(self, oid: str) -> Path:
        assert self.folder is not None
        return self.folder / "files/md5" / oid[:2] / oid[2:]

    def _key(self, oid: str) -> str:
        return f"core-tokens/files/md5/{oid[:2]}/{oid[2:]}"


@contextmanager
def folder(beside: Path) -> Iterator[Remote]:
    """A folder that all clones see."""
    yield Remote("folder", str(beside / "shared"), folder=beside / "shared")


@contextmanager
def ssh(beside: Path, address: str = "127.0.0.1", *within: str) -> Iterator[Remote]:
    """OpenSSH with a key of its own; ``within`` starts it elsewhere, in a network namespace say."""
    sshd = _program("sshd")
    Path("/run/sshd").mkdir(exist_ok=True)  # where it drops its privileges
    (beside / "files").mkdir()
    for name in ("host-key", "key", "wrong-key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(beside / name)], check=True
        )
    shutil.copy(beside / "key.pub", beside / "authorized-keys")
    port = _free_port()
    (beside / "sshd").write_text(SSHD.format(port=port, address=address, folder=beside))
    command = [*within, sshd, "-D", "-e", "-f", str(beside / "sshd")]
    with _served(command, address, port, relayed=not within) as (seen, relay, down, up):
        yield Remote(
            "ssh", f"ssh://root@{address}:{seen}{beside}/files",
            (), {"keyfile": str(beside / "key")}, {"keyfile": str(beside / "wrong-key")},
            relay=relay, down=down, up=up, folder=beside / "files",
        )  # fmt: skip


@contextmanager
def webdav(beside: Path) -> Iterator[Remote]:
    """Nginx with WebDAV, behind a password."""
    if not MODULE.exists():
        _absent("nginx with libnginx-mod-http-dav-ext")
    passwords = beside / "passwords"
    passwords.write_text(f"ada:{{PLAIN}}{PASSWORD}\n")
    location = WEBDAV.replace("ROOT", str(beside)).replace("PASSWORDS", str(passwords))
    with _nginx(beside, location, f"load_module {MODULE};") as (port, relay, down, up):
        yield Remote(
            "webdav", f"webdav://127.0.0.1:{port}/core-tokens", ("user=ada",),
            {"password": PASSWORD}, {"password": "another"},
            relay=relay, down=down, up=up, folder=beside / "core-tokens",
        )  # fmt: skip


@contextmanager
def http(beside: Path, address: str = "127.0.0.1", *within: str) -> Iterator[Remote]:
    """Nginx that shows a folder, which is filled as a folder."""
    filled_by = Remote("folder", str(beside / "core-tokens"), folder=beside / "core-tokens")
    location = HTTP.replace("ROOT", str(beside))
    with _nginx(beside, location, "", address, *within) as (port, relay, down, up):
        yield Remote(
            "http", f"http://{address}:{port}/core-tokens", filled_by=filled_by,
            relay=relay, down=down, up=up, folder=beside / "core-tokens",
        )  # fmt: skip


@contextmanager
def s3(beside: Path) -> Iterator[Remote]:
    """Moto, which checks signatures; what it has is in its memory, so it is only cut off."""
    import boto3

    port = _free_port()
    command = [
        str(Path(sys.executable).with_name("moto_server")),
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    # Five calls make the bucket and who may use it; from then on a signature is needed.
    environment = {
        "INITIAL_NO_AUTH_ACTION_COUNT": "4",
        "PATH": os.environ["PATH"],
        "HOME": str(beside),
    }
    with _served(command, "127.0.0.1", port, environment=environment) as (seen, relay, _, _):
        where: dict[str, Any] = {
            "region_name": "us-east-1",
            "endpoint_url": f"http://127.0.0.1:{port}",
        }
        anyone = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
        iam = boto3.client("iam", **where, **anyone)
        iam.create_user(UserName="ada")
        iam.put_user_policy(
            UserName="ada", PolicyName="all",
            PolicyDocument='{"Version": "2012-10-17", "Statement": '
            '[{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
        )  # fmt: skip
        key = iam.create_access_key(UserName="ada")["AccessKey"]
        boto3.client("s3", **where, **anyone).create_bucket(Bucket="bucket")
        secrets = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        own = {f"aws_{name}": value for name, value in secrets.items()}
        yield Remote(
            "s3", "s3://bucket/core-tokens",
            (f"endpointurl=http://127.0.0.1:{seen}", "region=us-east-1"), secrets,
            secrets | {"secret_access_key": "another"},
            relay=relay, bucket=boto3.resource("s3", **where, **own).Bucket("bucket"),
        )  # fmt: skip


KINDS: dict[str, Callable[[Path], Any]] = {
    "folder": folder, "ssh": ssh, "s3": s3, "webdav": webdav, "http": http,
}  # fmt: skip


@contextmanager
def _nginx(
    beside: Path, location: str, modules: str, address: str = "127.0.0.1", *within: str
) -> Iterator[Any]:
    nginx = _program("nginx")
    (beside / "core-tokens").mkdir()
    port = _free_port()
    user = "root" if os.geteuid() == 0 else "nobody"
    config = NGINX.format(
        modules=modules, folder=beside, address=address, port=port, location=location, user=user
    )
    (beside / "nginx").write_text(config)
    command = [*within, nginx, "-p", str(beside), "-c", str(beside / "nginx")]
    with _served(command, address, port, relayed=not within) as served:
        yield served


@contextmanager
def _served(
    command: list[str],
    address: str,
    port: int,
    *,
    relayed: bool = True,
    environment: dict[str, str] | None = None,
) -> Iterator[tuple[int, Relay | None, Callable[[], None], Callable[[], None]]]:
    """Run a server; the port that clients see, the relay there, and what kills and restarts it."""
    running: list[subprocess.Popen[bytes]] = []

    def up() -> None:
        process = subprocess.Popen(
            command, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        running.append(process)
        if relayed:
            _wait_for(address, port, process)

    def down() -> None:
        while running:
            process = running.pop()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    with ExitStack() as stack:
        stack.callback(down)
        up()
        relay = Relay(port) if relayed else None
        if relay is not None:
            stack.callback(relay.close)
        yield relay.port if relay else port, relay, down, up


def _wait_for(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"no answer at {address}:{port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    return found or _absent(name)


def _absent(name: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"no {name}, and {REQUIRED} is set")
    pytest.skip(f"no {name}: apt-get install nginx-light libnginx-mod-http-dav-ext openssh-server")
