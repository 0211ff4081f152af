"""Two trained models, whole: one with a dead cluster and one without (see checkpoints.py)."""

import json
from typing import Any

import ml_dtypes  # noqa: F401 - safetensors reads bfloat16 into NumPy only after it
import numpy as np
import pytest
from safetensors.numpy import load_file

from checkpoints import real_checkpoints
from repository import Repository, empty_project


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with both models added and reproduced."""
    folder = real_checkpoints()
    repository = empty_project(tmp_path_factory.mktemp("real") / "clone")
    repository.set_param("adjacency_threshold:", "adjacency_threshold: 0.002")
    for model, key in (
        ("stories260k", "model.embed_tokens.weight"),
        ("tinystories-656k", "model.embed_tokens.weight"),  # an alias of lm_head.weight
    ):
        file = folder / model / "model.safetensors"
        repository.run(
            "core-tokens", "add", model, str(file), "--tensor", key
        )  # fmt: skip
    repository.ran()
    repository.commit("Add two trained models")
    return repository


def metrics(repository: Repository, model: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (repository.path / "data" / model / f"{name}.json").read_text()
    )
    return content


def test_a_dead_cluster_is_found_in_the_stored_values(real: Repository) -> None:
    found = metrics(real, "stories260k", "cluster")
    assert found["matrix"] == {"rows": 512, "dims": 64, "unique_rows": 512, "zero_rows": 0}
    assert found["cluster"]["tokens"] == 169
    assert found["cluster"]["vectors"] == 169
    assert found["cast"] == {"stored_bits": 32, "changed_rows": 512}
    assert f"{found['nearest_outsider']['l2']:.4f}" == "0.0256"
    ids = load_file(real.path / "data/stories260k/cluster_tokens.safetensors")["cluster_token_ids"]
    assert {0, 2} < set(ids.tolist()) < {0, 2, *range(3, 259)}


def test_as_bfloat16_two_pairs_are_one_and_tie_for_the_big_one(real: Repository) -> None:
    found = metrics(real, "stories260k", "measure")
    assert found["tokens"] == 169
    assert found["vectors"] == 167
    assert found["origin"]["index"] == 34
    assert found["origin"]["population"] == 2
    assert found["ulp_exponent"] == -10
    assert found["distance_ulp"]["max"] == 4
    assert found["distance_steps"]["max"] == 18
    assert found["cast"] == {"stored_bits": 32, "measured_bits": 16, "changed_tokens": 169}
    assert found["matrix"] == {
        "dtype": {"F32": 32},
        "measured": {"BF16": 16},
        "tensor": {"model.embed_tokens.weight": 1},
    }
    measured = load_file(real.path / "data/stories260k/measurements.safetensors")
    shared = np.flatnonzero(measured["populations"] == 2)
    pairs = [
        set(measured["token_ids"][measured["vector_of_token"] == vector].tolist())
        for vector in shared
    ]
    assert sorted(map(sorted, pairs)) == [[29, 125], [50, 86]]


@pytest.mark.parametrize(("radius", "vectors"), [("1", 132), ("2", 166), ("4", 167)])
def test_the_core_at_three_radii(real: Repository, radius: str, vectors: int) -> None:
    real.set_param("radius:", f"radius: {radius}")
    real.dvc("repro", "extract@stories260k")
    assert metrics(real, "stories260k", "core")["core"]["vectors"] == vectors
    real.run("git", "checkout", "--quiet", ".")


def test_a_model_without_a_cluster_passes_every_stage_with_zeros(real: Repository) -> None:
    found = metrics(real, "tinystories-656k", "cluster")
    classes = found["matrix"].pop("classes")
    assert found["matrix"] == {"rows": 2048, "dims": 128, "unique_rows": 2048, "zero_rows": 0}
    assert found["cluster"]["tokens"] == 0
    assert found["cast"] == {"stored_bits": 32, "changed_rows": 0}  # each is exactly a bfloat16
    # Merges over the mark of a beginning, which is always cut out first, are never made.
    assert classes == {"ordinary": 2027, "special": 3, "byte": 0, "unreachable": 18, "padding": 0}
    assert metrics(real, "tinystories-656k", "measure")["tokens"] == 0
    core = metrics(real, "tinystories-656k", "core")
    assert core["core"]["tokens"] == core["halo"]["tokens"] == 0
    assert set(core["core"]["classes"].values()) == set(core["halo"]["classes"].values()) == {0}
    assert "no cluster" in real.run("core-tokens", "summary", "tinystories-656k").stdout
    real.dvc("plots", "show", "--out", "plots")
