"""The templates and the page of ``dvc plots``, from the specifications of the pictures.

``python -m core_tokens.pictures.dvc_plots`` writes them to .dvc/plots; ``make templates`` calls it.
"""

import json
from pathlib import Path

from core_tokens.files import write_all
from core_tokens.pictures import (
    PICTURES,
    SURVEY_PICTURES,
    classes,
    halo,
    offline,
    style,
    template,
)

FOLDER = Path(".dvc", "plots")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src 'self' file: data:"
)
"""Nothing is loaded from elsewhere; images are those that DVC puts beside the page."""
COLUMNS = "repeat(auto-fill, minmax(min(100%, 30rem), 1fr))"
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="POLICY">
{refresh_tag}
<title>Core Tokens: DVC plots</title>
<style>
:root { color-scheme: light dark; background: LIGHT; }
@media (prefers-color-scheme: dark) { :root { background: DARK; } }
body { margin: 1rem; font-family: FONT; }
main { display: grid; grid-template-columns: COLUMNS; gap: 1.5rem; }
main > div { min-width: 0; }
main img { max-width: 100%; }
</style>
<script>
SCRIPT
</script>
</head>
<body>
<main>
{plot_divs}
</main>
</body>
</html>
"""


def templates() -> dict[str, str]:
    """File name -> content of everything in .dvc/plots that is made from the pictures."""
    pictures = (*PICTURES.values(), *SURVEY_PICTURES.values())
    kinds = [*dict.fromkeys(picture.kind for picture in pictures), classes, halo]
    made = {
        f"{kind.__name__.rpartition('.')[2]}.json": json.dumps(
            template(kind), indent=2, sort_keys=True
        )
        + "\n"
        for kind in kinds
    }
    page = PAGE
    for placeholder, value in (
        ("LIGHT", style.PAGE["light"]), ("DARK", style.PAGE["dark"]),
        ("POLICY", POLICY), ("COLUMNS", COLUMNS), ("FONT", style.FONT),
        ("SCRIPT", offline.script().strip()),
    ):  # fmt: skip
        page = page.replace(placeholder, value, 1)
    return made | {"page.html": page}


if __name__ == "__main__":
    write_all({FOLDER / name: content for name, content in templates().items()})
