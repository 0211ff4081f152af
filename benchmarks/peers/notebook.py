"""What a user would do instead: the published procedure as one plain torch script.

Loads the whole matrix and the cluster file, gathers, finds the unique rows, measures, cuts at the
radius and saves. Run as ``python benchmarks/notebook.py FOLDER RADIUS OUTPUT``.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

folder, radius, output = Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
matrix = load_file(folder / "W.safetensors")["W"]
token_ids = load_file(folder / "cluster_tokens.safetensors")["cluster_token_ids"]
vectors, vector_of_token, populations = torch.unique(
    matrix[token_ids].to(torch.bfloat16), dim=0, return_inverse=True, return_counts=True
)
origin = vectors[populations.argmax()]
magnitudes = origin.float().abs()
ulp = 2.0 ** (torch.floor(torch.log2(magnitudes[magnitudes > 0].median())) - 7)
distance = (vectors - origin).abs().amax(dim=1).float() / ulp
core = token_ids[(distance <= radius)[vector_of_token]]
save_file(
    {
        "cluster_token_ids": core,
        "max_core_radius_ulp": torch.tensor([radius]),
        "n_core_tokens": torch.tensor([len(core)]),
        "n_halo_tokens": torch.tensor([len(token_ids) - len(core)]),
    },
    output,
)
