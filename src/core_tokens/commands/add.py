"""``core-tokens add``."""

import argparse
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from core_tokens import models
from core_tokens.checkpoint import Which

HELP = "take up a model: from the hub, a folder or a file"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("name", metavar="NAME", help="letters a-z, digits and dashes")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="hf://org/model[@revision], a folder in the Hugging Face layout, a safetensors file, "
        "or replica:NAME",
    )
    source.add_argument("--embedding", metavar="PATH", help="the same, spelt out")
    parser.add_argument(
        "--tensor", metavar="KEY", help="the tensor, where it is not found by its name"
    )
    parser.add_argument(
        "--which",
        choices=get_args(Which),
        default="unembedding",
        help="the unembedding (where there is one and it is not tied), or the input embedding",
    )
    parser.add_argument(
        "--cluster-tokens",
        type=Path,
        metavar="FILE",
        help="safetensors file with cluster_token_ids; without it the cluster is discovered",
    )


def run(given: argparse.Namespace) -> None:
    """List a model, and say how to go on."""
    source = given.embedding if given.source is None else given.source
    added = models.add(given.name, source, given.tensor, given.cluster_tokens, given.which)
    print(f"{_described(added)} as {given.name}. To go on:\n")
    print("    dvc repro")
    print(f"    git add params.yaml dvc.yaml dvc.lock data/{given.name}")


def _described(added: models.Added) -> str:
    """What was added, and whether it is here already."""
    if added.place is None:
        return f"Listed {added.source}"
    entry = added.place.entry
    found = f"{added.place.key} {entry} of {added.source}"
    size = tqdm.format_sizeof(entry.nbytes, "B")
    return f"Listed {found}, {size} to fetch," if added.fetched else f"Added {found}, {size},"
