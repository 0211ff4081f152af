"""What does it look like? The tables of the plots -> pictures as files."""

from pathlib import Path

from core_tokens import console, params, plot_files
from core_tokens.files import write_folder
from core_tokens.pictures import PICTURES, specification
from core_tokens.pictures.render import rendered


def run(model: str) -> None:
    """Read ``data/MODEL/plots``; write ``data/MODEL/pictures``, one for each table with rows."""
    settings = params.load()
    params.check_listed(model, settings.models, "models")
    folder = Path("data", model)
    tables = {
        name: plot_files.read(
            folder / "plots" / f"{name}.csv", picture.kind.NUMBERS, picture.kind.TEXTS
        )
        for name, picture in PICTURES.items()
    }
    drawn = {}
    for name, rows in tables.items():
        if rows:
            title = f"{PICTURES[name].title} ({model})"
            spec = specification(name, rows, settings.draw.theme, title)
            drawn[f"{name}.{settings.draw.format}"] = rendered(spec, settings.draw.format)
    write_folder(folder / "pictures", drawn)


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
