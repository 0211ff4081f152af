"""Core Tokens: the never-trained tokens of a language model, measured and versioned.

    measured = core_tokens.measure(model.lm_head.weight, token_ids)
    core = core_tokens.core_within(measured, radius=3)

Both are imported on first use: every stage imports this package, and few of them need these.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["core_within", "measure"]

if TYPE_CHECKING:
    from core_tokens.api import core_within, measure
else:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return getattr(import_module("core_tokens.api"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
