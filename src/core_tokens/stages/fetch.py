"""Where does the matrix come from? A source in params.yaml -> W and the text of its tokens."""

from pathlib import Path

from core_tokens import console, params, provenance, replica, sources, vocabulary
from core_tokens.checkpoint import locate
from core_tokens.disk import check_space
from core_tokens.errors import ParamsError
from core_tokens.files import replacing


def run(model: str) -> None:
    """Obtain ``data/MODEL/W.safetensors`` and ``vocab.json`` from ``fetch.MODEL.source``."""
    settings = params.load()
    params.check_listed(model, settings.fetch, "fetch")
    wanted, folder = settings.fetch[model], Path("data", model)
    matrix, vocab = folder / "W.safetensors", folder / "vocab.json"
    source = sources.parse(wanted.source, f"params.yaml: fetch.{model}.source")
    if isinstance(source, sources.Replica):
        if wanted.tensor is not None or wanted.which != "unembedding":
            raise ParamsError(f"fetch.{model}", "a choice of tensors in a replica", "source alone")
        with replacing(matrix, vocab) as (to_matrix, to_vocab):
            replica.REPLICAS[source.name](to_matrix)
            to_vocab.write_bytes(vocabulary.to_json([]))  # a replica has no tokenizer
        return
    if isinstance(source, sources.Model) and not source.pinned:
        raise ParamsError(
            f"fetch.{model}.source",
            f"{wanted.source!r}, a name that may move",
            f"hf://{source.repo}@COMMIT with all 40 digits, as `core-tokens add` writes it",
        )
    record = folder / provenance.NAME
    before = provenance.read(record)
    files = sources.files_of(source)
    place = locate(files, wanted.tensor, wanted.which)
    check_space(files.at(place.file), place.entry.nbytes)
    with replacing(matrix, vocab, record) as (to_matrix, to_vocab, to_record):
        tokens = sources.vocabulary_of(files, place.entry.shape[0])
        to_vocab.write_bytes(vocabulary.to_json(tokens))
        sha256 = sources.copy_matrix(files, place, to_matrix)
        to_record.write_text(
            provenance.with_fetched(record, before, wanted.source, place, sha256), encoding="utf-8"
        )


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
