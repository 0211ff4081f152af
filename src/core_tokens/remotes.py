"""A remote for what DVC keeps: verified when pulled, and no secret where Git would share it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from core_tokens.errors import CoreTokensError, FileError, UsageError

CONFIG, LOCAL_CONFIG = Path(".dvc/config"), Path(".dvc/config.local")
OWN = frozenset(
    ("user", "password", "passphrase", "token", "access_key_id", "secret_access_key",
     "session_token", "sse_customer_key", "bearer_token_command", "keyfile", "credentialpath",
     "configpath", "cert_path", "key_path")
)  # fmt: skip
"""Options that are one person's own: a name, a secret, or where it lies on their machine."""
UNHASHED = ("version_aware", "worktree")
"""Options by which a remote has files under their own names, which nothing can verify."""


@dataclass(frozen=True)
class Kind:
    """What it takes to reach a remote.

    Attributes:
        extra: of this project, None where DVC itself is enough.
        module: what the extra brings.
        writable: whether one usually may push to it.
    """

    extra: str | None
    module: str
    writable: bool = True


FOLDER = Kind(None, "dvc")
KINDS = {
    "ssh": Kind("ssh", "dvc_ssh"),
    "s3": Kind("s3", "dvc_s3"),
    "webdav": Kind("webdav", "dvc_webdav"),
    "webdavs": Kind("webdav", "dvc_webdav"),
    "http": Kind(None, "dvc_http", writable=False),
    "https": Kind(None, "dvc_http", writable=False),
}
"""Scheme of a URL -> what it takes; everything without a scheme is a folder."""


@dataclass(frozen=True)
class Added:
    """What ``add`` wrote.

    Attributes:
        name: of the remote.
        url: without a password.
        kind: what it takes to reach it.
        known: whether it was configured before, and only what is one's own is new.
        default: whether it is now the default remote.
        own: the options that went to .dvc/config.local, by name.
        installed: whether what it takes is there.
    """

    name: str
    url: str
    kind: Kind
    known: bool
    default: bool
    own: tuple[str, ...]
    installed: bool


def add(name: str, url: str, options: Mapping[str, str], *, default: bool = False) -> Added:
    """Configure a remote for everyone, and what is secret of it for this clone alone.

    ``verify`` is set: without it DVC takes a corrupt object for a good one. A password within the
    URL is a secret too.

    Args:
        name: letters, digits, dashes and underscores. Of a remote that is configured already, for
            the second of a team say, all ``options`` are one's own.
        url: a folder, or ssh://, s3://, webdav://, webdavs://, http:// or https://.
        options: of DVC for that kind of remote, see ``dvc remote modify``.
        default: whether ``dvc push`` and ``dvc pull`` are to use it unless told otherwise.

    Raises:
        UsageError: what is wrong with the name, the URL or an option.
        FileError: no DVC project here, or one whose configuration cannot be edited.
    """
    from dvc.config import Config, ConfigError  # half a second that no other command should pay

    command = f"core-tokens remote add {name}"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UsageError(command, f"the name {name!r}", "letters, digits, dashes and underscores")
    name = name.lower()  # as DVC does
    if not CONFIG.is_file():
        raise FileError(CONFIG, "no such file", "a DVC project here (dvc init)")
    kind, url, given = _taken_apart(command, url)
    given |= options
    for key, value in {"URL": url, **given}.items():
        if key in ("url", "verify"):
            raise UsageError(command, f"the option {key!r}", "it as it is: this command sets it")
        if key in UNHASHED:
            expected = "files under their hashes, which can be verified"
            raise UsageError(command, f"the option {key!r}", expected)
        if not key or not value:
            raise UsageError(command, f"no value of {key!r}", f"{key or 'KEY'}=VALUE")
        if key.endswith("url") and {"@", "?"} & set(value):
            raise UsageError(command, f"a secret within {key!r}", "options of its own for it")
        if not value.isascii() or not value.isprintable() or "%(" in value:
            expected = "printable ASCII without %(, which is all that DVC's configuration takes"
            raise UsageError(command, f"a value of {key!r} with other characters", expected)
    before = {path: _bytes(path) for path in (CONFIG, LOCAL_CONFIG)}
    try:
        config = Config(str(CONFIG.parent))
        known = name in config["remote"]
        there = config["remote"].get(name, {})
        if known and not _same(kind, there["url"], url):
            expected = "a name not in use, or the same URL"
            raise UsageError(command, "a remote of that name", expected)
        verified = bool(there.get("verify"))
        own = {key: value for key, value in given.items() if known or key in OWN}
        if default or not verified:
            with config.edit("repo") as edited:
                if known and not verified:
                    edited["remote"].setdefault(name, {})["verify"] = "true"
                elif not known:
                    rest = {key: value for key, value in given.items() if key not in own}
                    edited["remote"][name] = {"url": url, "verify": "true"} | rest
                if default:
                    edited["core"]["remote"] = name
        if known and not verified and LOCAL_CONFIG.is_file():
            with config.edit("local") as edited:
                edited["remote"].get(name, {}).pop("verify", None)
        if own:
            LOCAL_CONFIG.touch(0o600)
            LOCAL_CONFIG.chmod(0o600)  # before there is anything to be read
            with config.edit("local") as edited:
                edited["remote"].setdefault(name, {}).update(own)
    except BaseException as error:
        for path, content in before.items():
            _restore(path, content)
        if isinstance(error, ConfigError):
            raise _explain(command, str(error)) from error
        raise
    installed = find_spec(kind.module) is not None
    return Added(name, url, kind, known, default, tuple(sorted(own)), installed)


def _same(kind: Kind, known: str, url: str) -> bool:
    """Is it the URL of a remote that is there? Of folders DVC makes them absolute."""
    if kind is FOLDER:
        return Path(known).expanduser().resolve() == Path(url).expanduser().resolve()
    return known == url


def _taken_apart(command: str, given: str) -> tuple[Kind, str, dict[str, str]]:
    """The kind of a URL, the URL without a password, and the options that it held."""
    if "://" not in given:
        return FOLDER, _folder(command, given), {}
    try:
        parts = urlsplit(given)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(command, f"a URL that is none ({error})", "SCHEME://HOST/PATH") from error
    url = _without_password(parts)
    if parts.scheme not in KINDS:
        schemes = ", ".join(f"{scheme}://" for scheme in KINDS)
        raise UsageError(command, f"{parts.scheme}://", f"a folder, or one of {schemes}")
    if not host:
        where = "BUCKET" if parts.scheme == "s3" else "HOST"
        raise UsageError(command, f"the URL {url!r}", f"{parts.scheme}://{where}/PATH")
    if parts.scheme == "ssh" and parts.path in ("", "/"):
        raise UsageError(command, f"the URL {url!r}", "ssh://HOST/PATH, a folder of the server's")
    if parts.query or parts.fragment:
        raise UsageError(command, "a ? or # in the URL", "SCHEME://HOST/PATH alone")
    password = parts.password
    return KINDS[parts.scheme], url, {} if password is None else {"password": unquote(password)}


def _without_password(parts: SplitResult) -> str:
    user, _, server = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return parts._replace(netloc=f"{name}@{server}" if name else server).geturl()


def _folder(command: str, given: str) -> str:
    """A folder, absolute or below the present one; as DVC takes it."""
    try:
        path = Path(given).expanduser()
    except RuntimeError as error:
        raise UsageError(command, f"{given}, the folder of nobody", "a folder, or a URL") from error
    if (scp := re.fullmatch(r"((?:[\w.-]+@)?[\w.-]+):(.*)", given)) and not path.exists():
        url = f"ssh://{scp[1]}/{scp[2].lstrip('/')}"
        raise UsageError(command, repr(given), f"{url}, or a folder")
    if not given:
        raise UsageError(command, "no URL", "a folder, or a URL")
    if path.exists() and not path.is_dir():
        raise UsageError(command, f"the file {given}", "a folder, there or yet to be made")
    if path.resolve().is_relative_to(Path.cwd().resolve()):
        raise UsageError(command, f"{given}, inside of this project", "a folder outside of it")
    return given


def _explain(command: str, message: str) -> CoreTokensError:
    """A message of DVC's about its configuration."""
    what, _, where = message.removeprefix("config file error: ").partition(" @ ")
    what = what.removesuffix(" for dictionary value")
    key = where.rpartition("['")[2].removesuffix("']")
    if what == "expected 'url'":
        mend = f"it with one, or: dvc remote remove --local {key}"
        return FileError(LOCAL_CONFIG, "options of a remote without its URL", mend)
    if what.startswith("extra keys") and key:
        return UsageError(command, f"the option {key!r}", "one that DVC has for such a remote")
    if key:
        return UsageError(command, f"a value of {key!r} that does not fit ({what})", "another")
    return FileError(CONFIG, message, "what DVC can read")


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _restore(path: Path, content: bytes | None) -> None:
    """Have a file as it was, in place: one of secrets keeps its mode."""
    if content is None:
        path.unlink(missing_ok=True)
    elif _bytes(path) != content:
        path.write_bytes(content)
