"""``core-tokens``: what is not a stage."""

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

from tqdm import tqdm

from core_tokens import console, models, params, remotes, revisions
from core_tokens.checkpoint import Which
from core_tokens.errors import FileError, UsageError
from core_tokens.files import sweep, write_all
from core_tokens.summary import summary, table


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            self.prog,
            f"a command line that does not fit ({message})",
            self.format_usage().removeprefix("usage: "),
        )


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = _Parser(prog="core-tokens", description="Run in the folder that holds params.yaml.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = commands.add_parser("add", help="take up a model: from the hub, a folder or a file")
    add.add_argument("name", metavar="NAME", help="letters a-z, digits and dashes")
    source = add.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="hf://org/model[@revision], a folder in the Hugging Face layout, a safetensors file, "
        "or replica:NAME",
    )
    source.add_argument("--embedding", metavar="PATH", help="the same, spelt out")
    add.add_argument(
        "--tensor", metavar="KEY", help="the tensor, where it is not found by its name"
    )
    add.add_argument(
        "--which",
        choices=get_args(Which),
        default="unembedding",
        help="the unembedding (where there is one and it is not tied), or the input embedding",
    )
    add.add_argument(
        "--cluster-tokens",
        type=Path,
        metavar="FILE",
        help="safetensors file with cluster_token_ids; without it the cluster is discovered",
    )
    remove = commands.add_parser("remove", help="take a model out again, its data included")
    remove.add_argument("name", metavar="NAME")
    show = commands.add_parser("summary", help="what was found, for people")
    show.add_argument("name", metavar="MODEL", nargs="?", help="by default all, one line each")
    page = commands.add_parser(
        "report", help="one page with pictures, for a browser without a network"
    )
    page.add_argument("names", metavar="MODEL", nargs="*", help="by default all")
    page.add_argument(
        "-o", "--output", type=Path, metavar="FILE", default=Path("report.html"),
        help="by default report.html",
    )  # fmt: skip
    page.add_argument(
        "--compare", metavar="REV", help="beside how it was in a commit or an experiment"
    )
    remote = commands.add_parser("remote", help="where DVC keeps the files for others")
    actions = remote.add_subparsers(
        dest="action", required=True, metavar="ACTION", help="add: configure one, the safe way"
    )
    new = actions.add_parser("add", help="configure one: verified, and its secrets kept here")
    new.add_argument("name", metavar="NAME", help="letters, digits, dashes and underscores")
    new.add_argument(
        "url", metavar="URL",
        help="a folder, or ssh://, s3://, webdav://, webdavs://, http://, https://",
    )  # fmt: skip
    new.add_argument(
        "--set", dest="options", metavar="KEY=VALUE", action="append", default=[],
        help="an option that DVC has for such a remote; the value of KEY alone is asked for",
    )  # fmt: skip
    new.add_argument(
        "--default", action="store_true", help="push to it and pull from it by default"
    )
    return top


def run(arguments: Sequence[str]) -> None:
    """Carry out one command line."""
    given = parser().parse_args(arguments)
    if params.PATH.is_file():
        sweep(Path(), *Path("data").glob("**/"))
    if given.command == "add":
        source = given.embedding if given.source is None else given.source
        added = models.add(given.name, source, given.tensor, given.cluster_tokens, given.which)
        print(f"{_described(added)} as {given.name}. To go on:\n")
        print("    dvc repro")
        print(f"    git add params.yaml dvc.lock data/{given.name}")
    elif given.command == "remove":
        models.remove(given.name)
        print(f"Removed {given.name} from params.yaml, dvc.lock and data/; "
              "`dvc gc --workspace` frees the cache.")  # fmt: skip
    elif given.command == "report":
        _report(given.names, given.output, given.compare)
    elif given.command == "remote":
        _add_remote(given.name, given.url, given.options, given.default)
    else:
        settings = params.load()
        if given.name is not None:
            params.check_listed(given.name, settings.models, "models")
        names = settings.models if given.name is None else [given.name]
        print(table(names) if len(names) > 1 else "".join(summary(n, settings) for n in names))


def _report(names: Sequence[str], output: Path, compare: str | None) -> None:
    """Write the report of some models, or of all."""
    from core_tokens.report import page, sides  # Altair takes longer to load than the rest takes

    settings = params.load()
    if output.exists() and not output.is_file():
        raise FileError(output, "a folder or a device", "a file, or nothing, to be replaced")
    for name in names:
        params.check_listed(name, settings.models, "models")
    wanted = dict.fromkeys(names or settings.models)
    if not wanted:
        raise UsageError("core-tokens report", "no model", "one: core-tokens add NAME SOURCE")
    here = revisions.Revision(revisions.WORKSPACE)
    both = [revisions.resolve(compare), here] if compare is not None else [here]
    text = page.page([sides.read(name, revision) for name in wanted for revision in both])
    write_all({output: text})
    print(f"Wrote {output} ({tqdm.format_sizeof(len(text.encode()), 'B')}).")


def _add_remote(name: str, url: str, options: Sequence[str], default: bool) -> None:
    """Configure a remote; say what was done, and what is left to do."""
    added = remotes.add(name, url, dict(map(_option, options)), default=default)
    print(f"Added the remote {added.name}, {added.url}: what is pulled from it is verified.")
    if added.default:
        print("It is the default remote now.")
    if added.secrets:
        print(f"Kept {', '.join(added.secrets)} in {remotes.LOCAL_CONFIG}, which stays here.")
    if not added.kind.writable:
        print("Few such servers let one push: fill it through another remote.")
    if not added.installed:
        print(f"It needs: pip install -c constraints.txt -e '.[{added.kind.extra}]'")


def _option(given: str) -> tuple[str, str]:
    """KEY=VALUE, or KEY and what is typed, unseen; a line of what is not a terminal."""
    key, equals, value = given.partition("=")
    if equals:
        return key, value
    typed = getpass.getpass(f"{key}: ") if sys.stdin.isatty() else sys.stdin.readline()
    return key, typed.removesuffix("\n")


def _described(added: models.Added) -> str:
    """What was added, and whether it is here already."""
    if added.place is None:
        return f"Listed {added.source}"
    entry = added.place.entry
    found = f"{added.place.key} {entry} of {added.source}"
    size = tqdm.format_sizeof(entry.nbytes, "B")
    return f"Listed {found}, {size} to fetch," if added.fetched else f"Added {found}, {size},"


def main() -> int:
    """The entry point of the command ``core-tokens``."""
    return console.run(run)
