"""Where does the matrix come from? A source in params.yaml -> W and the text of its tokens."""

from pathlib import Path

from core_tokens import console, params, replica
from core_tokens.errors import ParamsError
from core_tokens.files import replacing


def run(model: str) -> None:
    """Obtain ``data/MODEL/W.safetensors`` and ``vocab.json`` from ``fetch.MODEL.source``."""
    settings = params.load()
    params.check_listed(model, settings.fetch, "fetch")
    kind, _, name = settings.fetch[model].source.partition(":")
    if kind != "replica" or name not in replica.REPLICAS:
        known = " or ".join(f"replica:{known}" for known in replica.REPLICAS)
        raise ParamsError(f"fetch.{model}.source", repr(settings.fetch[model].source), known)
    folder = Path("data", model)
    with replacing(folder / "W.safetensors", folder / "vocab.json") as (matrix, vocab):
        replica.REPLICAS[name](matrix)
        vocab.write_text("[]\n", encoding="utf-8")  # a replica has no tokenizer


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
