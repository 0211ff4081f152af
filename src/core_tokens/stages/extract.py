"""Which tokens are core? Measurements and a radius -> the core, the halo and their sizes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens import console, params, tables, tensors, vocabulary
from core_tokens.core import check_measurements, core_within
from core_tokens.errors import in_files
from core_tokens.files import write_all


def run(model: str) -> None:
    """Read ``data/MODEL/measurements.safetensors``; write the core, its metrics, core and halo."""
    settings = params.load()
    params.check_listed(model, settings.models, "models")
    ruler = settings.extract.distance
    folder = Path("data", model)
    path = folder / "measurements.safetensors"
    measured = tensors.read(path, tensors.MEASUREMENTS, skip="vectors")
    with in_files(**dict.fromkeys(measured, path)):
        check_measurements(measured)
    texts = vocabulary.read_texts(folder / "tokens.csv", measured["token_ids"].tolist())
    core = core_within(
        settings.extract.radius,
        measured[f"distance_{ruler}"],
        measured["vector_of_token"],
        measured["token_ids"],
    )
    core_tokens: dict[str, NDArray[Any]] = {
        "cluster_token_ids": core.token_ids,
        f"max_core_radius_{ruler}": np.array([core.radius], np.float32),
        "n_core_tokens": np.array([len(core.token_ids)], np.int64),
        "n_halo_tokens": np.array([len(core.halo_token_ids)], np.int64),
    }
    metrics = tables.core_metrics(
        core,
        vocabulary.counts(texts, core.token_ids.tolist()),
        vocabulary.counts(texts, core.halo_token_ids.tolist()),
    )
    write_all(
        {
            folder / "core_tokens.safetensors": tensors.to_bytes(core_tokens),
            folder / "core.json": tables.json_text(metrics),
            folder / "core.csv": tables.distances_table(core.token_ids, measured, texts),
            folder / "halo.csv": tables.distances_table(core.halo_token_ids, measured, texts),
        }
    )


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
