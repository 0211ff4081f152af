"""The usual way to one tensor of a sharded checkpoint: download the shard, open it, read it.

Run as ``python benchmarks/peers/download.py SHARD TENSOR COMMIT``.
"""

import sys

import ml_dtypes  # noqa: F401 - teaches NumPy bfloat16
from huggingface_hub import hf_hub_download
from safetensors import safe_open

shard, tensor, commit = sys.argv[1:]
with safe_open(hf_hub_download("org/model", shard, revision=commit), "np") as file:
    file.get_tensor(tensor)
