"""How far is each token from the origin? W and the cluster -> distances, without a radius."""

from pathlib import Path

import numpy as np

from core_tokens import console, devices, params, tables, tensors, vocabulary
from core_tokens.errors import in_files
from core_tokens.files import write_all
from core_tokens.measurements import check_not_empty


def run(model: str) -> None:
    """Read W and the cluster tokens; write the measurements, their metrics and tokens."""
    settings = params.load()
    params.check_listed(model, settings.models, "models")
    measure = devices.engine(settings.measure.device)
    folder = Path("data", model)
    matrix_path, cluster_path = folder / "W.safetensors", folder / "cluster_tokens.safetensors"
    matrix = tensors.map_matrix(matrix_path)
    stored = tensors.header(matrix_path)
    tokens = vocabulary.read(folder / "vocab.json", len(matrix))
    token_ids = tensors.read(cluster_path, tensors.CLUSTER_TOKENS)["cluster_token_ids"]
    with in_files(W=matrix_path, cluster_token_ids=cluster_path):
        if model not in settings.cluster.discovered:  # a cluster that was found may be empty
            check_not_empty(token_ids)
        measured = measure(matrix, token_ids, settings.measure.precision)
    measurements = {
        "token_ids": measured.token_ids,
        "vector_of_token": measured.vector_of_token,
        "vectors": measured.vectors,
        "populations": measured.populations,
        "distance_ulp": measured.distance_ulp,
        "distance_steps": measured.distance_steps,
        "distance_l2": measured.distance_l2,
        "origin": np.array([measured.origin], np.int64),
        "ulp": np.ldexp(np.ones(1, np.float32), measured.ulp_exponent),
    }
    metrics = tables.measure_metrics(
        measured,
        stored.entries["W"].dtype,
        8 * matrix.dtype.itemsize,
        stored.metadata.get("tensor", "W"),
    )
    write_all(
        {
            folder / "measurements.safetensors": tensors.to_bytes(measurements),
            folder / "measure.json": tables.json_text(metrics),
            folder / "tokens.csv": tables.tokens_table(token_ids, tokens),
        }
    )


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
