"""``core-tokens remote``."""

import argparse
import getpass
import sys

from core_tokens import remotes

HELP = "where DVC keeps the files for others"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", help="add: configure one, the safe way"
    )
    add = actions.add_parser("add", help="configure one: verified, and its secrets kept here")
    add.add_argument("name", metavar="NAME", help="letters, digits, dashes and underscores")
    add.add_argument(
        "url", metavar="URL",
        help="a folder, or ssh://, s3://, webdav://, webdavs://, http://, https://",
    )  # fmt: skip
    add.add_argument(
        "--set", dest="options", metavar="KEY=VALUE", action="append", default=[],
        help="an option that DVC has for such a remote; the value of KEY alone is asked for",
    )  # fmt: skip
    add.add_argument(
        "--default", action="store_true", help="push to it and pull from it by default"
    )


def run(given: argparse.Namespace) -> None:
    """Configure a remote; say what was done, and what is left to do."""
    options = dict(map(_option, given.options))
    added = remotes.add(given.name, given.url, options, default=given.default)
    done = "The remote was there already:" if added.known else "Added the remote"
    print(f"{done} {added.name}, {added.url}: what is pulled from it is verified.")
    if added.default:
        print("It is the default remote now.")
    if added.own:
        print(f"Kept {', '.join(added.own)} in {remotes.LOCAL_CONFIG}, which stays here.")
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
