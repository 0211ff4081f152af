"""``core-tokens report``."""

import argparse
from pathlib import Path

from tqdm import tqdm

from core_tokens import params, revisions
from core_tokens.errors import FileError, UsageError
from core_tokens.files import write_all

HELP = "one page with pictures, for a browser without a network"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="models and surveys, by default all"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", default=Path("report.html"),
        help="by default report.html",
    )  # fmt: skip
    parser.add_argument(
        "--compare", metavar="REV", help="beside how it was in a commit or an experiment"
    )


def run(given: argparse.Namespace) -> None:
    """Write the report of some models and surveys, or of all."""
    from core_tokens.report import page, sides, surveys  # Altair takes longer to load than the rest

    settings = params.load()
    output = given.output
    if output.exists() and not output.is_file():
        raise FileError(output, "a folder or a device", "a file, or nothing, to be replaced")
    here = revisions.Revision(revisions.WORKSPACE)
    both = [revisions.resolve(given.compare), here] if given.compare is not None else [here]
    named = dict.fromkeys(given.names)
    for name in named:
        if name not in settings.survey:
            params.check_listed(name, settings.models, "models")
    models = [name for name in named or settings.models if name in settings.models]
    made = named or [name for name in settings.survey if surveys.is_there(name, here)]
    found = [
        [
            surveys.read(name, revision)
            for revision in both
            if revision is here or surveys.is_there(name, revision)
        ]
        for name in made
        if name in settings.survey
    ]
    if not models and not found:
        raise UsageError("core-tokens report", "no model", "one: core-tokens add NAME SOURCE")
    text = page.page([sides.read(name, revision) for name in models for revision in both], found)
    write_all({output: text})
    print(f"Wrote {output} ({tqdm.format_sizeof(len(text.encode()), 'B')}).")
