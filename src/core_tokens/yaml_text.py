"""YAML 1.2, read by the parser that DVC itself uses, so that both read the same number."""

import warnings
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import ReusedAnchorWarning


def parse(text: bytes | str) -> Any:
    """What a document says, as plain values.

    Raises:
        ValueError: it is none. Of a hostile one the parser may raise anything.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # which YAML allows
            return YAML(typ="safe", pure=True).load(text)
    except MemoryError:
        raise
    except Exception as error:  # a recursion without end, keys that are lists, and what not
        raise ValueError(str(error) or type(error).__name__) from error
