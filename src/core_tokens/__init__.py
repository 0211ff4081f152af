"""Core Tokens: the never-trained tokens of a language model, measured and versioned.

    core = core_tokens.load("https://host/team/cores.git", rev="v1", model="qwen3-4b")
    measured = core_tokens.measure(model.lm_head.weight, token_ids)
    core = core_tokens.core_within(measured, radius=3)

All are imported on first use: every stage imports this package, and few of them need these.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["core_within", "load", "load_vectors", "measure"]

if TYPE_CHECKING:
    from core_tokens.api import core_within, measure
    from core_tokens.loading import load, load_vectors
else:
    _HOME = {
        "core_within": "api",
        "load": "loading",
        "load_vectors": "loading",
        "measure": "api",
    }

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return getattr(import_module(f"core_tokens.{_HOME[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
