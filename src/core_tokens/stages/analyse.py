"""What is the structure of cluster and core? Measurements and a core -> numbers and plot tables."""

from pathlib import Path

import numpy as np

from core_tokens import console, core_file, params, structure_tables, tables, tensors, vocabulary
from core_tokens.core import check_measurements
from core_tokens.errors import FileError, TensorError, in_files
from core_tokens.files import write_all
from core_tokens.structure.analysis import analyse
from core_tokens.structure.layout import layout
from core_tokens.structure.tokens import kinds
from core_tokens.structure_metrics import structure_metrics


def run(model: str) -> None:
    """Read measurements and core of a model; write structure.json and the tables of its plots."""
    params.check_listed(model, params.load().models, "models")
    folder = Path("data", model)
    path, core_path = folder / "measurements.safetensors", folder / "core_tokens.safetensors"
    measured = tensors.read(path, tensors.MEASUREMENTS)
    core = core_file.read(core_path)
    matrix, token_ids, vector_of = (
        measured[name] for name in ("vectors", "token_ids", "vector_of_token")
    )
    with in_files(**dict.fromkeys(measured, path)):
        check_measurements(measured)
        if matrix.shape[1] == 0:
            raise TensorError("vectors", "no dimensions", "those of W: measure again")
        if not np.isfinite(matrix).all():
            raise TensorError("vectors", "NaN or infinity", "finite values: measure again")
    within = measured[f"distance_{core.ruler}"] <= core.radius
    if not np.array_equal(token_ids[within[vector_of]], core.token_ids):
        where = f"other tokens than lie within {core.radius:g} ({core.ruler})"
        raise FileError(core_path, where, f"those of {path}: dvc repro")
    texts = vocabulary.read_texts(folder / "tokens.csv", token_ids.tolist())
    found = analyse(matrix, measured["populations"], measured["distance_ulp"], within)
    kinds_of = None
    if texts is not None:
        inside = within[vector_of]
        parts = {"cluster": token_ids, "core": token_ids[inside], "halo": token_ids[~inside]}
        kinds_of = {part: kinds(texts[token] for token in ids.tolist())
                    for part, ids in parts.items()}  # fmt: skip
    ulp_exponent = int(np.frexp(measured["ulp"][0])[1]) - 1
    metrics = structure_metrics(found, ulp_exponent, kinds_of)
    plots = structure_tables.plot_tables(
        found,
        layout(found.cluster.adjacency.linf),
        matrix,
        structure_tables.vectors_of(measured, within, core.ruler, core.radius, texts),
        kinds_of,
    )
    write_all(
        {
            folder / "structure.json": tables.json_text(metrics),
            **{folder / "plots" / f"{name}.csv": text for name, text in plots.items()},
        }
    )


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
