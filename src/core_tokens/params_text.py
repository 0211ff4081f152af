"""Editing params.yaml as text: one name in or out, every other byte as it was.

Comments, quotes, line ends and layout are the user's. A YAML writer would lay the file out anew;
here the parser only says where a list begins and ends.
"""

import json
import re
from typing import Any

from ruamel.yaml import YAML

from core_tokens import yaml_text
from core_tokens.errors import ParamsError


def listed(text: str, model: str, fetch: dict[str, str] | None, *, discover: bool) -> str:
    """params.yaml with a model listed, under ``fetch`` and ``cluster.discover`` too if asked.

    Raises:
        ParamsError: the text has a layout (aliases) in which that cannot be written.
    """
    wanted = _load(text)
    wanted["models"] = [*wanted["models"], model]
    text = with_name(text, ("models",), model)
    if fetch is not None:
        wanted["fetch"][model] = fetch
        text = with_entry(text, "fetch", model, fetch)
    if discover:
        wanted["cluster"]["discover"] = [*wanted["cluster"]["discover"], model]
        text = with_name(text, ("cluster", "discover"), model)
    return _checked(text, wanted, f"the model {model!r} added by hand")


def unlisted(text: str, model: str) -> str:
    """params.yaml without a model, wherever it was listed (ParamsError: see ``listed``)."""
    wanted = _load(text)
    wanted["models"] = [name for name in wanted["models"] if name != model]
    discover = wanted["cluster"]["discover"]
    wanted["cluster"]["discover"] = [name for name in discover if name != model]
    wanted["fetch"].pop(model, None)
    places = [("models",), ("cluster", "discover"), ("fetch",)]
    if "discover_at" in wanted["cluster"]:
        wanted["cluster"]["discover_at"].pop(model, None)
        places.append(("cluster", "discover_at"))
    for keys in places:
        text = without_name(text, keys, model)
    return _checked(text, wanted, f"the model {model!r} removed by hand")


def _load(text: str) -> Any:
    return yaml_text.parse(text)


def _checked(text: str, wanted: Any, otherwise: str) -> str:
    """The text, if it now says what was wanted."""
    try:
        says = _load(text)
    except ValueError:
        says = None
    if says != wanted:
        raise ParamsError("", "lists in a layout that cannot be edited", otherwise)
    return text


def with_name(text: str, keys: tuple[str, ...], name: str) -> str:
    """Append ``name`` to the list under ``keys``.

    Args:
        text: a YAML document.
        keys: the path of a list, such as ``("cluster", "discover")``.
        name: a slug; quoted where YAML would take it for something else than text.
    """
    node = _node(text, keys)
    item = _scalar(name)
    if node.flow_style:
        if node.value:
            at = node.value[-1].end_mark.index
            return f"{text[:at]}, {item}{text[at:]}"
        at = text.index("[", node.start_mark.index) + 1
        return text[:at] + item + text[at:]
    last = node.value[-1]
    dash = text.rindex("-", 0, last.start_mark.index)
    indent = text[text.rfind("\n", 0, dash) + 1 : dash]
    newline = "\r\n" if "\r\n" in text else "\n"
    end = text.find("\n", last.end_mark.index) + 1
    if end == 0:
        return f"{text}{newline}{indent}- {item}"
    return f"{text[:end]}{indent}- {item}{newline}{text[end:]}"


def with_entry(text: str, key: str, name: str, values: dict[str, str]) -> str:
    """Append ``name`` with its values to the mapping under a top-level ``key``."""
    node = _node(text, (key,))
    newline = "\r\n" if "\r\n" in text else "\n"
    if node.flow_style and node.value:
        inner = ", ".join(f"{each}: {_quoted(value)}" for each, value in values.items())
        at = _span(node.value[-1])[1]
        return f"{text[:at]}, {_scalar(name)}: {{{inner}}}{text[at:]}"
    if node.flow_style:  # an empty one gives way to lines below its key
        indent = "  "
        start = len(text[: node.start_mark.index].rstrip(" "))
        text = text[:start] + text[node.end_mark.index :]
        last = start
    else:
        indent = " " * node.value[0][0].start_mark.column
        last = _span(node.value[-1])[1]
    lines = [f"{indent}{_scalar(name)}:"]
    lines += [f"{indent}  {each}: {_scalar(value)}" for each, value in values.items()]
    end = text.find("\n", last) + 1
    if end == 0:
        return text + newline + newline.join(lines)
    return text[:end] + newline.join(lines) + newline + text[end:]


def without_name(text: str, keys: tuple[str, ...], name: str) -> str:
    """Take ``name`` out of the list or the mapping under ``keys``; nothing if it is not there."""
    node = _node(text, keys)
    spans = [_span(item) for item in node.value]
    names = [(item[0] if isinstance(item, tuple) else item).value for item in node.value]
    if name not in names:
        return text
    at = names.index(name)
    start, end = spans[at]
    if node.flow_style:
        if at:
            return text[: spans[at - 1][1]] + text[end:]
        if len(spans) > 1:
            return text[:start] + text[spans[1][0] :]
        comma = re.match(r"\s*,", text[end:])
        return text[:start] + text[end + (comma.end() if comma else 0) :]
    dash = start if isinstance(node.value[at], tuple) else text.rindex("-", 0, start)
    line = text.rfind("\n", 0, dash) + 1
    after = text.find("\n", end) + 1
    if len(spans) == 1:
        empty = "{}" if isinstance(node.value[0], tuple) else "[]"
        colon = _colon(text, keys)
        if not re.fullmatch(r"[ \t]*(#.*)?\r?\n", text[colon:line]):
            # Lines are between, so deeper than its key, on a line of its own.
            return f"{text[:dash]}  {empty}{text[end:]}"
        text = f"{text[:colon]} {empty}{text[colon:]}"
        line, after = line + 3, after and after + 3
    return text[:line] + text[after:] if after else text[:line].rstrip("\r\n")


def _scalar(value: str) -> str:
    """Text as YAML has it: plain where that is read as the same text, else quoted."""
    try:
        plain = _load(value) == value and not re.search(r"[\[\]{},#&*]|: ", value)
    except ValueError:
        plain = False
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    """Text in double quotes, as YAML reads it back."""
    quoted = json.dumps(value, ensure_ascii=False)  # YAML joins no pairs of surrogates
    return re.sub(UNWRITABLE, lambda found: f"\\u{ord(found[0]):04x}", quoted)


UNWRITABLE = "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"
"""What YAML takes for a line break or refuses, and JSON does not escape."""


def _node(text: str, keys: tuple[str, ...]) -> Any:
    """The YAML node under a path of keys, with the marks of where it stands."""
    return _item(text, keys)[1]


def _colon(text: str, keys: tuple[str, ...]) -> int:
    """Where the colon behind the last of a path of keys ends."""
    return text.index(":", _item(text, keys)[0].end_mark.index) + 1


def _item(text: str, keys: tuple[str, ...]) -> tuple[Any, Any]:
    """The nodes of a key, given with those above it, and of its value."""
    name, node = None, YAML().compose(text)
    for key in keys:
        name, node = next(item for item in node.value if item[0].value == key)
    return name, node


def _span(item: Any) -> tuple[int, int]:
    """Where an item of a list, or a key with its value, begins and ends."""
    first, last = item if isinstance(item, tuple) else (item, item)
    start = first.start_mark.index
    while not isinstance(last.value, str) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last.value[-1], tuple) else last.value[-1]
    return start, last.end_mark.index
