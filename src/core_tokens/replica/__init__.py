"""Matrices made to show the published figures of models whose weights cannot be shipped.

None is the model's matrix: its ordinary rows are noise, and whatever was not published of its
groups of identical rows is drawn. What was published it shows number for number.
"""

from collections.abc import Callable
from pathlib import Path

from core_tokens.replica import qwen2_5_3b, qwen3_4b

REPLICAS: dict[str, Callable[[Path], None]] = {
    "qwen3-4b-instruct-2507": qwen3_4b.write,
    "qwen2-5-3b-instruct": qwen2_5_3b.write,
}
"""Name of a replica, as in ``replica:NAME`` -> what writes its matrix to a path."""
