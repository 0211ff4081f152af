"""Taking a model out of dvc.lock, which DVC itself never does for a model that is gone."""

from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core_tokens.errors import FileError

PATH = Path("dvc.lock")


def without_model(model: str) -> str | None:
    """The text of dvc.lock without the stages of a model, None if it has none of them.

    Raises:
        FileError: it is not what DVC wrote, after a merge with conflicts say.
    """
    if not PATH.is_file():
        return None
    yaml = YAML()  # round trip, laid out as DVC does
    try:
        document = yaml.load(PATH.read_text(encoding="utf-8")) or {}
        stages = document.get("stages") or {}
        stale = [stage for stage in stages if stage.endswith(f"@{model}")]
    except (YAMLError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise FileError(
            PATH, "no valid lock file", "what DVC wrote: git checkout dvc.lock"
        ) from error
    if not stale:
        return None
    for stage in stale:
        del stages[stage]
    text = StringIO()
    yaml.dump(document, text)
    return text.getvalue()
