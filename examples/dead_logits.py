"""Written for a cluster file: what probability do its tokens get, and none with a mask.

    python examples/dead_logits.py W.safetensors cluster_tokens.safetensors

A core file drops in where the cluster file was.
"""

import sys

import ml_dtypes  # noqa: F401 - teaches NumPy bfloat16
import numpy as np
from safetensors.numpy import load_file


def main(matrix: str, tokens: str) -> None:
    """Print what the tokens get of the probability, for a hidden state that is a mean row of W."""
    weights = load_file(matrix)["W"].astype(np.float32)
    ids = load_file(tokens)["cluster_token_ids"]

    logits = weights @ weights.mean(axis=0)
    masked = logits.copy()
    masked[ids] = -np.inf
    before, after = (np.exp(each - each.max()) for each in (logits, masked))
    share = before[ids].sum() / before.sum()
    print(f"{len(ids):,} of {len(weights):,} tokens had {share:.2%} of the probability,")
    print(f"and have {after[ids].sum() / after.sum():.2%} with the mask.")


if __name__ == "__main__":
    main(*sys.argv[1:])
