"""YAML 1.2, read by the parser that DVC itself uses, so that both read the same number."""

import warnings
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import ReusedAnchorWarning
from ruamel.yaml.nodes import Node, ScalarNode

LARGEST = 1 << 20
"""Bytes of a document: the parser takes seconds for as many."""
MOST = 1 << 18
"""Values of a document, those counted again that an alias repeats."""


class _Constructor(SafeConstructor):
    """Makes no value that could not be printed."""

    def construct_yaml_int(self, node: ScalarNode) -> int:
        value: int = super().construct_yaml_int(node)
        str(value)  # ValueError: of thousands of digits
        return value

    def construct_yaml_str(self, node: ScalarNode) -> str:
        value: str = super().construct_yaml_str(node)
        value.encode()  # UnicodeEncodeError: half a character
        return value


for _kind in ("int", "str"):
    _construct = getattr(_Constructor, f"construct_yaml_{_kind}")
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct)


def parse(text: bytes | str, *, largest: int = LARGEST) -> Any:
    """What a document says, as plain values.

    Raises:
        ValueError: it is none, or has more than ``largest`` bytes or ``MOST`` values.
    """
    if len(text) > largest:
        raise ValueError(f"{len(text):,} bytes, expected {largest:,} at most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # which YAML allows
            if "*" in str(text):
                _check_aliases(_yaml().compose(text))
            return _yaml().load(text)
    except MemoryError:
        raise
    except Exception as error:  # a recursion without end, keys that are lists, and what not
        raise ValueError(str(error) or type(error).__name__) from error


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    return yaml


def _check_aliases(root: Node) -> None:
    """Refuse a few lines that stand for a billion values, before any of these is made."""
    sizes: dict[int, int] = {}

    def size(node: Node) -> int:
        if isinstance(node, ScalarNode):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = MOST  # while it is looked at: one that holds itself has no end
            entries = (each if isinstance(each, tuple) else (each,) for each in node.value)
            sizes[id(node)] = min(
                1 + sum(size(part) for each in entries for part in each), MOST + 1
            )
        return sizes[id(node)]

    if size(root) > MOST:
        raise ValueError(f"more than {MOST:,} values, expected no aliases that repeat each other")
