import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from dvc.config import Config

from core_tokens import remotes
from core_tokens.errors import FileError
from project import Project, check_refusal
from repository import Repository, clone, empty_project, save, small_matrix


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A DVC project with the configuration that this one has."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    for name in ("config", ".gitignore"):
        shutil.copy(Path(__file__).parents[1] / ".dvc" / name, folder / ".dvc" / name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Project(folder)


def shared() -> Any:
    return Config.load_file(".dvc/config")


def local() -> Any:
    return Config.load_file(".dvc/config.local")["remote"]


URLS = {
    "../elsewhere": "../../elsewhere",  # DVC keeps it below .dvc
    "/srv/core-tokens": "/srv/core-tokens",
    "~/core-tokens": "~/core-tokens",
    "ssh://ada@host:2222/srv/core-tokens": "ssh://ada@host:2222/srv/core-tokens",
    "s3://bucket/core-tokens": "s3://bucket/core-tokens",
    "webdav://host:8080/core-tokens": "webdav://host:8080/core-tokens",
    "webdavs://host/core-tokens": "webdavs://host/core-tokens",
    "http://host/core-tokens": "http://host/core-tokens",
    "https://host/core-tokens": "https://host/core-tokens",
}


@pytest.mark.parametrize("url", URLS)
def test_a_remote_is_verified_and_leaves_the_others_alone(project: Project, url: str) -> None:
    before = shared()
    done = project.command_here("remote", "add", "team", url)
    assert (done.code, done.err) == (0, "")
    after = shared()
    assert after["remote"].pop("team") == {"url": URLS[url], "verify": "true"}
    assert after == before
    assert not Path(".dvc/config.local").exists()
    assert "verified" in done.out


def test_the_default_is_changed_only_when_asked(project: Project) -> None:
    project.command_here("remote", "add", "one", "/srv/one")
    assert shared()["core"]["remote"] == "shared-folder"
    done = project.command_here("remote", "add", "two", "/srv/two", "--default")
    assert shared()["core"]["remote"] == "two"
    assert "default" in done.out


def test_a_name_is_in_lower_case_as_dvc_has_it(project: Project) -> None:
    assert project.command_here("remote", "add", "Team_1", "/srv/x").code == 0
    assert "team_1" in shared()["remote"]


@pytest.mark.parametrize(
    ("url", "options", "secret", "rest"),
    [
        ("s3://b/x", {"access_key_id": "K", "secret_access_key": "S", "session_token": "T",
                      "region": "eu"}, {"access_key_id", "secret_access_key", "session_token"},
         {"region": "eu"}),
        ("ssh://host/x", {"password": "P", "passphrase": "Q", "keyfile": "/k"},
         {"password", "passphrase", "keyfile"}, {}),
        ("webdavs://host/x", {"user": "ada", "token": "T", "timeout": "30"}, {"user", "token"},
         {"timeout": "30"}),
        ("webdavs://host/x", {"bearer_token_command": "cat t"}, {"bearer_token_command"}, {}),
        ("https://host/x", {"auth": "basic", "user": "ada", "password": "P"},
         {"user", "password"}, {"auth": "basic"}),
        ("s3://b/x", {"profile": "lab", "configpath": "/c"}, {"configpath"}, {"profile": "lab"}),
    ],
)  # fmt: skip
def test_what_is_ones_own_is_kept_here_for_one_person_to_read(
    project: Project, url: str, options: dict[str, str], secret: set[str], rest: dict[str, str]
) -> None:
    done = project.command_here(
        "remote", "add", "team", url, *(f"--set={key}={value}" for key, value in options.items())
    )
    assert (done.code, done.err) == (0, "")
    assert shared()["remote"]["team"] == {"url": url, "verify": "true", **rest}
    assert local() == {"team": {key: options[key] for key in secret}}
    assert stat.S_IMODE(Path(".dvc/config.local").stat().st_mode) == 0o600
    assert ".dvc/config.local" in done.out
    assert "/config.local" in Path(".dvc/.gitignore").read_text().splitlines()


def test_a_password_in_the_url_is_a_secret_and_is_not_printed(project: Project) -> None:
    done = project.command_here("remote", "add", "team", "webdavs://ada:p%40ss@host:1/x")
    assert shared()["remote"]["team"]["url"] == "webdavs://ada@host:1/x"
    assert local() == {"team": {"password": "p@ss"}}
    for text in (done.out, Path(".dvc/config").read_text()):
        assert "p@ss" not in text
        assert "p%40ss" not in text


def test_secrets_of_another_remote_stay(project: Project) -> None:
    project.command_here("remote", "add", "one", "ssh://host/x", "--set", "password=1")
    project.command_here("remote", "add", "two", "ssh://host/y", "--set", "password=2")
    assert local() == {"one": {"password": "1"}, "two": {"password": "2"}}


def test_a_value_that_is_not_given_is_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "typed\n", raising=False)
    project.command_here("remote", "add", "team", "ssh://host/x", "--set", "password")
    assert local() == {"team": {"password": "typed"}}


def test_the_second_of_a_team_adds_what_is_their_own(project: Project) -> None:
    url = "webdavs://host/core-tokens"
    project.command_here("remote", "add", "team", url, "--set", "user=ada", "--set", "password=a")
    before = Path(".dvc/config").read_bytes()
    Path(".dvc/config.local").unlink()
    done = project.command_here(
        "remote", "add", "team", url, "--set", "user=bob", "--set", "password=b"
    )
    assert (done.code, done.err) == (0, "")
    assert "was there already: team" in done.out
    assert "Kept password, user in .dvc/config.local" in done.out
    assert local() == {"team": {"user": "bob", "password": "b"}}
    assert Path(".dvc/config").read_bytes() == before
    project.command_here("remote", "add", "team", url, "--set", "password=c", "--default")
    assert local() == {"team": {"user": "bob", "password": "c"}}
    assert shared()["core"]["remote"] == "team"
    for other in (f"{url}/elsewhere", "s3://bucket"):
        check_refusal(
            project.command_here("remote", "add", "team", other, "--set", "password=c"),
            "a name not in use",
        )
    before_again = Path(".dvc/config").read_bytes(), Path(".dvc/config.local").read_bytes()
    assert project.command_here("remote", "add", "team", url).code == 0
    assert (
        Path(".dvc/config").read_bytes(),
        Path(".dvc/config.local").read_bytes(),
    ) == before_again


def test_one_that_is_there_becomes_the_default_and_verified(project: Project) -> None:
    with Path(".dvc/config").open("a") as file:
        file.write("['remote \"plain\"']\n    url = https://host/x\n")
    done = project.command_here("remote", "add", "plain", "https://host/x", "--default")
    assert (done.code, done.err) == (0, "")
    assert "was there already: plain" in done.out
    assert shared()["remote"]["plain"] == {"url": "https://host/x", "verify": "true"}
    assert shared()["core"]["remote"] == "plain"
    assert not Path(".dvc/config.local").exists()
    Path(".dvc/config.local").write_text("['remote \"plain\"']\n    verify = false\n")
    project.command_here("remote", "add", "plain", "https://host/x", "--default")
    assert Config(".dvc")["remote"]["plain"]["verify"]


@pytest.mark.parametrize("url", ["../there", "~/there", "/there"])
def test_a_folder_may_be_added_again_as_it_is(project: Project, url: str) -> None:
    assert project.command_here("remote", "add", "there", url).code == 0
    before = Path(".dvc/config").read_bytes()
    done = project.command_here("remote", "add", "there", url)
    assert (done.code, Path(".dvc/config").read_bytes()) == (0, before)
    assert project.command_here("remote", "add", "there", url, "--default").code == 0
    assert shared()["core"]["remote"] == "there"


def test_secrets_of_a_remote_that_is_gone_are_named(project: Project) -> None:
    Path(".dvc/config.local").write_text("['remote \"gone\"']\n    password = x\n")
    check_refusal(
        project.command_here("remote", "add", "team", "/srv/x"),
        ".dvc/config.local", "dvc remote remove --local gone",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "url", "options", "mention"),
    [
        ("a b", "/srv/x", [], "letters, digits"),
        ("", "/srv/x", [], "letters, digits"),
        ('a"]', "/srv/x", [], "letters, digits"),
        ("shared-folder", "/srv/x", [], "a name not in use"),
        ("SHARED-folder", "/srv/x", [], "a name not in use"),
        ("team", "/srv/für-alle", [], "printable ASCII"),
        ("team", "ssh://host/x", ["password=für alle"], "printable ASCII"),
        ("team", "ssh://host/x", ["keyfile=a\nb"], "printable ASCII"),
        ("team", "ssh://host/x", ["password=%(x)s"], "without %("),
        ("team", "", [], "a folder, or a URL"),
        ("team", "ftp://host/x", [], "ssh://"),
        ("team", "gs://bucket/x", [], "ssh://"),
        ("team", "ssh:///srv/x", [], "ssh://HOST/PATH"),
        ("team", "ssh://host", [], "ssh://HOST/PATH"),
        ("team", "s3:///x", [], "s3://BUCKET/PATH"),
        ("team", "https://host:port/x", [], "SCHEME://HOST/PATH"),
        ("team", "https://[::1/x", [], "SCHEME://HOST/PATH"),
        ("team", "https://host/x?token=1", [], "SCHEME://HOST/PATH alone"),
        ("team", "inside", [], "outside of it"),
        ("team", ".", [], "outside of it"),
        ("team", "ada@host:/srv/x", [], "expected ssh://ada@host/srv/x, or a folder"),
        ("team", "~nobody-of-that-name/x", [], "the folder of nobody"),
        ("té", "/srv/x", [], "letters, digits"),
        ("team", "s3://bucket/x", ["endpointurl=https://k:s@host"], "a secret within"),
        ("team", "s3://bucket/x", ["endpointurl=k:s@host"], "a secret within"),
        ("team", "s3://bucket/x", ["endpointurl=https://host?token=s"], "a secret within"),
        ("team", "ssh://host/x", ["=foo"], "expected KEY=VALUE"),
        ("team", "host:x", [], "expected ssh://host/x, or a folder"),
        ("team", "s3://bucket/x", ["version_aware=true"], "'version_aware'"),
        ("team", "s3://bucket/x", ["worktree=true"], "'worktree'"),
        ("team", ".dvc/config", [], "a folder"),
        ("team", "ssh://host/x", ["port=many"], "'port' that does not fit (expected int)"),
        ("team", "ssh://host/x", ["prot=22"], "the option 'prot'; expected one"),
        ("team", "/srv/x", ["password=p"], "'password'"),
        ("team", "ssh://host/x", ["password="], "'password'"),
        ("team", "ssh://host/x", ["verify=perhaps"], "'verify'"),
        ("team", "ssh://host/x", ["url=ssh://other/x"], "'url'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_changes(
    project: Project, name: str, url: str, options: list[str], mention: str
) -> None:
    before = project.snapshot()
    done = project.command_here("remote", "add", name, url, *(f"--set={each}" for each in options))
    check_refusal(done, "core-tokens remote add", mention)
    assert {path: kept[0] for path, kept in project.snapshot().items()} == {
        path: kept[0] for path, kept in before.items()
    }


def test_a_message_never_shows_a_password(project: Project) -> None:
    for url in ("ftp://ada:geheim@host/x", "ssh://ada:geheim@host", "ssh://ada:geheim@host/x?q"):
        done = project.command_here("remote", "add", "team", url)
        assert done.code == 1
        assert "geheim" not in done.err


@pytest.mark.usefixtures("project")
def test_no_project_and_a_broken_configuration_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".dvc/config").write_text("[core\n")
    with pytest.raises(FileError, match=r"^\.dvc/config: found "):
        remotes.add("team", "/srv/x", {})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"^\.dvc/config: found no such file; expected a DVC"):
        remotes.add("team", "/srv/x", {})


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.usefixtures("project")
def test_a_failure_between_the_two_files_leaves_neither(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = Path(".dvc/config").read_bytes()

    def fails(self: Config, level: str | None = None, **_: Any) -> Any:
        if level == "local":
            raise error
        return edit(self, level)

    edit = Config.edit
    monkeypatch.setattr(Config, "edit", fails)
    with pytest.raises(type(error)):
        remotes.add("team", "ssh://host/x", {"password": "p"})
    assert Path(".dvc/config").read_bytes() == before
    assert not Path(".dvc/config.local").exists()


def test_what_is_not_installed_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotes, "find_spec", lambda _: None)
    done = project.command_here("remote", "add", "team", "s3://bucket/x")
    assert "pip install -c constraints.txt -e '.[s3]'" in done.out


@pytest.mark.parametrize("scheme", remotes.KINDS)
def test_the_extra_is_one_that_this_project_has(scheme: str) -> None:
    extra = remotes.KINDS[scheme].extra
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert extra is None or f'\n{extra} = ["dvc[{extra}]"]' in project


def test_where_one_can_rarely_push_it_is_said(project: Project) -> None:
    assert "let one push" in project.command_here("remote", "add", "mirror", "https://host/x").out
    assert "push" not in project.command_here("remote", "add", "team", "ssh://host/x").out


def test_a_remote_added_so_serves_another_clone_and_refuses_what_is_corrupt(
    tmp_path: Path,
) -> None:
    tiny: Repository = empty_project(tmp_path / "tiny")
    matrix = save(tmp_path / "W.safetensors", "W", small_matrix())
    tiny.run("core-tokens", "add", "tiny", str(matrix))
    tiny.ran()
    tiny.run("core-tokens", "remote", "add", "team", str(tmp_path / "team"), "--default")
    tiny.commit("A remote for the team")
    tiny.dvc("push")
    other = clone(tiny, tmp_path / "other")
    other.dvc("pull", "extract@tiny")
    core = "data/tiny/core_tokens.safetensors"
    assert (other.path / core).read_bytes() == (tiny.path / core).read_bytes()
    for stored in (tmp_path / "team/files").rglob("*"):
        if stored.is_file():
            stored.chmod(0o644)
            stored.write_bytes(b"\0" + stored.read_bytes()[1:])
    third = clone(tiny, tmp_path / "third")
    assert third.run("dvc", "pull", "extract@tiny", check=False).returncode != 0
    assert not (third.path / core).exists()
