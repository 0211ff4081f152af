"""Draw what became of the dead tokens: the tables of the survey -> the pictures of the README.

    python draw.py --output ../../docs

``core-tokens report training-run`` shows the same in a page, with the names of the tokens.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core_tokens import console, plot_files
from core_tokens.files import write_all
from core_tokens.pictures import SURVEY_PICTURES, specification
from core_tokens.pictures.render import rendered

PLOTS = Path("data", "surveys", "training-run", "plots")


def main(arguments: Sequence[str]) -> None:
    """Write one picture for each table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("pictures"), metavar="FOLDER")
    output = parser.parse_args(arguments).output
    drawn = {}
    for name, picture in SURVEY_PICTURES.items():
        rows = plot_files.read(PLOTS / f"{name}.csv", picture.kind.NUMBERS, picture.kind.TEXTS)
        spec = specification(name, rows, "light", picture.title)
        drawn[output / f"training_run_{name}.svg"] = rendered(spec, "svg")
    write_all(drawn)
    print("\n".join(f"Wrote {path}." for path in drawn))


if __name__ == "__main__":
    raise SystemExit(console.run(main))
