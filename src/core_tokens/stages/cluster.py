"""Where is the cluster? W -> the tokens of its largest component below the L2 threshold."""

from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core_tokens import console, params, tables, tensors, vocabulary
from core_tokens.clusters import find_cluster
from core_tokens.files import write_all


def run(model: str) -> None:
    """Read ``data/MODEL/W.safetensors``; write the cluster tokens, their metrics and the census."""
    settings = params.load()
    params.check_listed(model, settings.cluster.discovered, "cluster.discover")
    threshold = settings.cluster.threshold_of(model)
    folder = Path("data", model)
    matrix = tensors.map_matrix(folder / "W.safetensors")
    tokens = vocabulary.read(folder / "vocab.json", len(matrix))
    found = find_cluster(matrix, threshold, partial(tqdm, desc="cluster", delay=1, disable=None))
    cluster_tokens = {
        "cluster_token_ids": found.token_ids,
        "cluster_mask": found.mask,
        "adjacency_threshold": np.array([threshold], np.float32),
    }
    metrics = tables.cluster_metrics(
        found,
        matrix,
        threshold,
        vocabulary.counts(tokens, range(len(matrix))),
        vocabulary.counts(tokens, found.token_ids.tolist()),
    )
    write_all(
        {
            folder / "cluster_tokens.safetensors": tensors.to_bytes(cluster_tokens),
            folder / "cluster.json": tables.json_text(metrics),
            folder / "populations.csv": tables.populations_table(found),
        }
    )


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
