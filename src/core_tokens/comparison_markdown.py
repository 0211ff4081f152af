"""A comparison as Markdown: for the review of a change, by people who have no weights."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from core_tokens.comparison import Change, Comparison, ModelChanges, Sizes, Token
from core_tokens.summary import count


def markdown(comparison: Comparison, most_tokens: int) -> str:
    """What changed, as GitHub renders it.

    Args:
        comparison: of two revisions.
        most_tokens: so many of those that entered a core, and of those that left, are listed.
    """
    before, after = (code(side.name) for side in (comparison.before, comparison.after))
    parts = [f"## Core tokens: {before} → {after}"]
    if not comparison.any:
        parts.append("Nothing changed: parameters, metrics and cores are the same.")
    if comparison.params:
        parts.append(_table(("parameter", before, after), map(_change, comparison.params)))
    for model in comparison.models:
        if model.any:
            parts += _model(model, before, after, most_tokens)
    for survey, changes in comparison.surveys.items():
        parts.append(f"### Survey {code(survey)}")
        parts.append(_table(("metric", before, after, "change"), map(_metric, changes)))
    same = [code(model.model) for model in comparison.models if not model.any]
    if comparison.any and same:
        parts.append(f"Nothing changed of {', '.join(same)}.")
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """Text as it is, whatever is in it: nothing of it is markup, a link, a mention or a cell's end.

    Token texts come with backslashes escaped, as in Python source; in the same way what would end
    a code span or a table's cell is escaped. A space is shown as ␣.
    """
    if not text:
        return ""
    escaped = re.sub(r"[`|␣\x00-\x1f\x7f]", lambda found: _escape(found[0]), text)
    return f"`{escaped.replace(' ', '␣')}`"


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def _model(changes: ModelChanges, before: str, after: str, most: int) -> Iterator[str]:
    yield f"### {code(changes.model)}"
    yield _sizes(changes.before, changes.after)
    for tokens, what in ((changes.entered, "entered"), (changes.left, "left")):
        if tokens:
            yield f"**{count(len(tokens), 'token')} {what} the core**"
            yield _tokens(tokens[:most])
            if len(tokens) > most:
                yield f"… and {len(tokens) - most:,} more"
    if changes.metrics:
        yield _table(("metric", before, after, "change"), map(_metric, changes.metrics))
    for path in changes.pictures:
        yield f"![{path.stem}]({path.as_posix()})"


def _sizes(before: Sizes | None, after: Sizes | None) -> str:
    """The core in one line."""
    if before is None and after is None:
        return "No core yet."
    if before is None or after is None:
        one = before or after
        assert one is not None
        state = "New" if before is None else "Gone"
        return (
            f"{state}: {count(one.core_tokens, 'token')} in "
            f"{count(one.core_vectors, 'vector')} within {one.radius:g}, "
            f"halo {count(one.halo_tokens, 'token')}."
        )
    return (
        f"Core {_arrow(before.core_tokens, after.core_tokens)} tokens in "
        f"{_arrow(before.core_vectors, after.core_vectors)} vectors, "
        f"halo {_arrow(before.halo_tokens, after.halo_tokens)} tokens in "
        f"{_arrow(before.halo_vectors, after.halo_vectors)} vectors."
    )


def _arrow(before: int, after: int) -> str:
    return f"{after:,}" if before == after else f"{before:,} → **{after:,}**"


def _tokens(tokens: Sequence[Token]) -> str:
    """Tokens with their text, where any is known, and where they lie."""
    known = any(token.kind or token.text for token in tokens)
    header = ("token", *(("text", "class") if known else ()), "ulp", "steps", "L2", "population")
    rows = (
        (
            str(token.id),
            *((code(token.text), token.kind) if known else ()),
            token.distance_ulp,
            token.distance_steps,
            token.distance_l2,
            token.population,
        )
        for token in tokens
    )
    return _table(header, rows)


def _change(change: Change) -> tuple[str, ...]:
    return code(change.key), _value(change.before), _value(change.after)


def _metric(change: Change) -> tuple[str, ...]:
    numbers = [
        value for value in (change.before, change.after)
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]  # fmt: skip
    difference = f"{numbers[1] - numbers[0]:+.6g}" if len(numbers) == 2 else ""
    return *_change(change), difference


def _value(value: Any) -> str:
    """A value; empty for none."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.8g}" if isinstance(value, float) else str(value)
    return code(str(value))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
