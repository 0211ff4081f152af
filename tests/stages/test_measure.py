import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray

import project
from core_tokens import devices
from project import Done, Project
from torch_devices import THERE

OUTPUTS = {"measurements.safetensors", "measure.json", "tokens.csv"}
INPUTS = {"W.safetensors", "cluster_tokens.safetensors"}


@pytest.fixture
def ready(tmp_path: Path) -> Project:
    made = project.make_project(tmp_path)
    made.write_cluster(project.CLUSTER_IDS)
    return made


@pytest.fixture
def done(tmp_path: Path) -> Project:
    made = project.make_project(tmp_path)
    made.write_cluster(project.CLUSTER_IDS)
    assert made.stage_here("measure", "tiny") == Done(0, "", "")
    return made


def measurements(made: Project) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((made.data / "measurements.safetensors").read_bytes())


def metrics(made: Project) -> Any:
    return json.loads((made.data / "measure.json").read_text())


# ---- what it writes --------------------------------------------------------------------------


def test_process_writes_the_golden_files_and_no_others(ready: Project) -> None:
    assert ready.stage_process("measure", "tiny") == Done(0, "", "")
    assert ready.files() == INPUTS | OUTPUTS
    expected = project.golden("measure")
    assert expected.keys() == OUTPUTS
    assert {name: (ready.data / name).read_bytes() for name in OUTPUTS} == expected


def test_golden_measurements_are_what_plain_torch_finds() -> None:
    bits = project.tiny_matrix().view(np.int16)
    ids = torch.tensor(project.CLUSTER_IDS)
    rows = torch.from_numpy(bits).view(torch.bfloat16)[ids].float() + 0.0  # + 0.0 makes -0 +0
    unique, vector_of_token, populations = torch.unique(
        rows, dim=0, return_inverse=True, return_counts=True
    )
    vectors = unique.bfloat16()
    origin = int((populations == populations.max()).nonzero()[0])
    big_one = vectors[origin].float()
    ulp = 2 ** (big_one[big_one != 0].abs().median().log2().floor() - 7)
    difference = (vectors - vectors[origin]).float().abs()

    def lattice(values: torch.Tensor) -> torch.Tensor:
        raw = values.view(torch.int16).long() & 0xFFFF
        return torch.where(raw >= 0x8000, 0x8000 - raw, raw)

    expected = {
        "token_ids": ids,
        "vector_of_token": vector_of_token,
        "vectors": vectors,
        "populations": populations,
        "distance_ulp": difference.amax(dim=1) / ulp,
        "distance_steps": (lattice(vectors) - lattice(vectors[origin])).abs().amax(dim=1),
        "distance_l2": (vectors.double() - vectors[origin].double()).norm(dim=1).float(),
        "origin": torch.tensor([origin]),
        "ulp": ulp.reshape(1),
    }
    assert project.golden("measure")["measurements.safetensors"] == safetensors.torch.save(expected)


def test_golden_measurements_show_a_tie_and_that_the_rulers_disagree() -> None:
    found = safetensors.torch.load(project.golden("measure")["measurements.safetensors"])
    assert found["populations"].tolist() == [1, 2, 1, 2]
    assert found["origin"].tolist() == [1]
    assert found["ulp"].tolist() == [project.UNIT]
    assert found["distance_ulp"].tolist() == [3, 0, 2, 1]
    assert found["distance_steps"].tolist() == [3, 0, 14080, 1]


def test_second_run_writes_the_same_bytes(done: Project) -> None:
    before = {name: (done.data / name).read_bytes() for name in OUTPUTS}
    assert done.stage_here("measure", "tiny") == Done(0, "", "")
    assert {name: (done.data / name).read_bytes() for name in OUTPUTS} == before


def test_does_not_import_torch(ready: Project) -> None:
    modules = project.modules_after("measure", ready.folder)
    assert "core_tokens" in modules
    assert "torch" not in modules


def test_radius_and_ruler_do_not_matter(done: Project) -> None:
    before = {name: (done.data / name).read_bytes() for name in OUTPUTS}
    done.write_params(radius="17", distance="steps", adjacency_threshold="0.5")
    assert done.stage_here("measure", "tiny") == Done(0, "", "")
    assert {name: (done.data / name).read_bytes() for name in OUTPUTS} == before


def test_order_of_the_ids_is_kept(ready: Project) -> None:
    ids = project.CLUSTER_IDS[::-1]
    ready.write_cluster(ids)
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    assert measurements(ready)["token_ids"].tolist() == ids
    assert measurements(ready)["vector_of_token"].tolist() == [2, 0, 3, 3, 1, 1]


def test_cluster_file_of_the_notebook_is_read_with_its_other_tensors(ready: Project) -> None:
    ready.write_tensors("cluster_tokens.safetensors", {
        "cluster_token_ids": np.array(project.CLUSTER_IDS),
        "cluster_mask": np.zeros(5, np.bool_),  # of another size than the vocabulary, as published
        "adjacency_threshold": np.array([0.002], np.float32),
    })  # fmt: skip
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    expected = project.golden("measure")
    assert {name: (ready.data / name).read_bytes() for name in OUTPUTS} == expected


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, 16), (np.float32, 32), (np.float64, 64)])
def test_matrix_of_another_dtype_is_taken_as_bfloat16(
    ready: Project, dtype: type[np.floating[Any]], bits: int
) -> None:
    ready.write_tensors("W.safetensors", {"W": project.tiny_matrix().astype(dtype)})
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    expected = project.golden("measure")
    for name in OUTPUTS - {"measure.json"}:
        assert (ready.data / name).read_bytes() == expected[name]
    assert metrics(ready)["cast"] == {
        "stored_bits": bits, "measured_bits": 16, "changed_tokens": 0,
    }  # fmt: skip


def test_tokens_that_rounding_changes_are_counted_and_may_become_one_vector(
    ready: Project,
) -> None:
    matrix = project.tiny_matrix().astype(np.float32)
    matrix[[1, 9]] = matrix[2]
    matrix[9, 0] += 2.0**-30
    ready.write_tensors("W.safetensors", {"W": matrix})
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    assert metrics(ready)["cast"] == {
        "stored_bits": 32, "measured_bits": 16, "changed_tokens": 1,
    }  # fmt: skip
    assert metrics(ready)["origin"]["population"] == 3


# ---- an empty cluster ------------------------------------------------------------------------


def test_empty_cluster_that_was_discovered_passes_with_zeros(ready: Project) -> None:
    ready.write_cluster([])
    assert ready.stage_process("measure", "tiny") == Done(0, "", "")
    assert ready.files() == INPUTS | OUTPUTS
    content = (ready.data / "measurements.safetensors").read_bytes()
    nothing = torch.empty(0, dtype=torch.int64)
    assert content == safetensors.torch.save({
        "token_ids": nothing,
        "vector_of_token": nothing.clone(),
        "vectors": torch.empty((0, 4), dtype=torch.bfloat16),
        "populations": nothing.clone(),
        "distance_ulp": torch.empty(0),
        "distance_steps": nothing.clone(),
        "distance_l2": torch.empty(0),
        "origin": torch.tensor([-1]),
        "ulp": torch.tensor([2.0**-133]),
    })  # fmt: skip
    found = metrics(ready)
    assert (found["tokens"], found["vectors"]) == (0, 0)
    assert found["origin"]["population"] == 0
    assert found["distance_ulp"] == {"max": 0, "mean": 0, "median": 0}


@pytest.mark.parametrize("process", [False, True])
def test_empty_cluster_in_a_given_file_is_refused(done: Project, process: bool) -> None:
    done.write_params(discover="[]")
    done.write_cluster([])
    project.check_stage_refuses(
        done, "measure", "data/tiny/cluster_tokens.safetensors: cluster_token_ids", "no ids",
        process=process,
    )  # fmt: skip


# ---- values that are not finite --------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32])
def test_value_that_is_not_finite_in_a_cluster_row_is_refused_with_its_place(
    done: Project, bad: float, dtype: Any
) -> None:
    matrix = project.tiny_matrix().astype(dtype)
    matrix[5, 2] = bad
    done.write_tensors("W.safetensors", {"W": matrix})
    project.check_stage_refuses(
        done, "measure", "data/tiny/W.safetensors: W", str(bad), "row 5", "dimension 2"
    )


def test_nan_in_a_cluster_row_is_refused_by_the_process(done: Project) -> None:
    matrix = project.tiny_matrix()
    matrix[9, 0] = np.nan
    done.write_tensors("W.safetensors", {"W": matrix})
    project.check_stage_refuses(
        done, "measure", "W.safetensors: W", "nan", "row 9", "dimension 0", process=True
    )


def test_value_that_becomes_infinite_as_bfloat16_is_refused(done: Project) -> None:
    matrix = project.tiny_matrix().astype(np.float32)
    matrix[2, 1] = 3.4e38
    done.write_tensors("W.safetensors", {"W": matrix})
    project.check_stage_refuses(done, "measure", "W.safetensors: W", "inf as bfloat16", "row 2")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_value_that_is_not_finite_outside_the_cluster_rows_does_not_matter(
    ready: Project, bad: float
) -> None:
    matrix = project.tiny_matrix()
    matrix[[0, 4, 7, 8, 10, 11]] = bad
    ready.write_tensors("W.safetensors", {"W": matrix})
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    expected = project.golden("measure")
    assert {name: (ready.data / name).read_bytes() for name in OUTPUTS} == expected


def test_distances_too_large_for_float32_become_metrics_that_are_finite(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.array([[1e-30], [1e-30], [3e38], [-3e38]], np.float32))
    made.write_cluster([0, 1, 2, 3])
    assert made.stage_here("measure", "tiny") == Done(0, "", "")
    largest = float(np.finfo(np.float32).max)
    assert metrics(made)["distance_ulp"]["max"] == pytest.approx(largest)


# ---- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "mentions"),
    [
        ([1, 2, 12], ("the id 12", "0 to 11", "12 rows")),
        ([1, 2, 1 << 62], (f"the id {1 << 62}", "0 to 11")),
        ([-1, 2], ("negative id -1", "0 to 11")),
        ([-(1 << 63), 2], ("negative id", "0 to 11")),
        ([1, 2, 1], ("the id 1 more than once", "each id once")),
        (np.array([1.0, 2.0]), ("F64[2]", "I64[")),
        (np.array([1.0, 2.0], np.float32), ("F32[2]", "I64[")),
        (np.array([1, 2], np.int32), ("I32[2]", "I64[")),
        (np.array([1, 2], np.uint64), ("U64[2]", "I64[")),
        (np.array([True, False]), ("BOOL[2]", "I64[")),
        (np.array([[1, 2]]), ("I64[1, 2]", "I64[")),
        (np.array(1), ("I64[]", "I64[")),
    ],
)
def test_wrong_ids_are_refused(
    done: Project, ids: NDArray[Any] | list[int], mentions: tuple[str, ...]
) -> None:
    done.write_cluster(ids)
    where = "data/tiny/cluster_tokens.safetensors: cluster_token_ids"
    project.check_stage_refuses(done, "measure", where, *mentions)


def test_id_beyond_the_vocabulary_is_refused_by_the_process(done: Project) -> None:
    done.write_cluster([1, 12])
    where = "data/tiny/cluster_tokens.safetensors: cluster_token_ids"
    project.check_stage_refuses(done, "measure", where, "the id 12", "0 to 11", process=True)


@pytest.mark.parametrize("name", sorted(INPUTS))
@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_spoiled_file_is_refused(done: Project, name: str, spoil: Callable[[bytes], bytes]) -> None:
    project.spoil_file(done.data / name, spoil)
    project.check_stage_refuses(done, "measure", f"data/tiny/{name}", "safetensors file")


@pytest.mark.parametrize("name", sorted(INPUTS))
@pytest.mark.parametrize("how", ["truncated header", "header is no JSON"])
def test_spoiled_file_is_refused_by_the_process(done: Project, name: str, how: str) -> None:
    project.spoil_file(done.data / name, project.SPOILED[how])
    project.check_stage_refuses(done, "measure", f"data/tiny/{name}", process=True)


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_missing_file_is_refused(done: Project, name: str) -> None:
    (done.data / name).unlink()
    project.check_stage_refuses(done, "measure", f"data/tiny/{name}", "no such file")


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_folder_in_place_of_a_file_is_refused(done: Project, name: str) -> None:
    project.replace_by_folder(done.data / name)
    project.check_stage_refuses(done, "measure", f"data/tiny/{name}", "folder")


def test_link_to_nowhere_is_refused(done: Project) -> None:
    (done.data / "W.safetensors").unlink()
    (done.data / "W.safetensors").symlink_to("nowhere")
    before = (done.data / "measurements.safetensors").read_bytes()
    project.check_refusal(done.stage_here("measure", "tiny"), "data/tiny/W.safetensors", "no such")
    assert (done.data / "measurements.safetensors").read_bytes() == before


@pytest.mark.parametrize("process", [False, True])
def test_misnamed_ids_are_refused_and_the_tensors_there_are_listed(
    done: Project, process: bool
) -> None:
    done.write_tensors(
        "cluster_tokens.safetensors", {"ids": np.arange(3), "mask": np.zeros(4, np.bool_)}
    )
    where = "data/tiny/cluster_tokens.safetensors: cluster_token_ids"
    project.check_stage_refuses(
        done, "measure", where, "ids I64[3]", "mask BOOL[4]", process=process
    )


@pytest.mark.parametrize(
    ("tensors", "mentions"),
    [
        ({"w": np.ones((2, 2), np.float32)}, ("w F32[2, 2]",)),
        ({"W": np.ones(4, np.float32)}, ("F32[4]", "[vocab, dim]")),
        ({"W": np.ones((2, 2, 2), np.float32)}, ("F32[2, 2, 2]", "[vocab, dim]")),
        ({"W": np.ones((2, 2), np.int32)}, ("I32[2, 2]", "BF16")),
        ({"W": np.ones((0, 4), np.float32)}, ("F32[0, 4]", "[vocab, dim]")),
        ({"W": np.ones((4, 0), np.float32)}, ("F32[4, 0]", "[vocab, dim]")),
    ],
)
def test_tensor_that_is_no_matrix_of_floats_is_refused(
    done: Project, tensors: dict[str, NDArray[Any]], mentions: tuple[str, ...]
) -> None:
    done.write_tensors("W.safetensors", tensors)
    project.check_stage_refuses(done, "measure", "data/tiny/W.safetensors: W", *mentions)


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    done: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(done)
    project.check_stage_refuses(done, "measure", "params.yaml", mention)


@pytest.mark.parametrize("name", ["empty", "radius NaN"])
def test_bad_params_are_refused_by_the_process(done: Project, name: str) -> None:
    spoil, mention = project.BAD_PARAMS[name]
    spoil(done)
    project.check_stage_refuses(done, "measure", "params.yaml", mention, process=True)


@pytest.mark.parametrize(
    ("arguments", "mention"), project.WRONG_ARGUMENTS.values(), ids=project.WRONG_ARGUMENTS
)
def test_wrong_arguments_are_refused(
    done: Project, arguments: tuple[str, ...], mention: str
) -> None:
    project.check_stage_refuses(done, "measure", mention, arguments=arguments)


@pytest.mark.parametrize("name", ["two models", "a shell command"])
def test_wrong_arguments_are_refused_by_the_process(done: Project, name: str) -> None:
    arguments, mention = project.WRONG_ARGUMENTS[name]
    project.check_stage_refuses(done, "measure", mention, arguments=arguments, process=True)


# ---- the stored dtype's own lattice -----------------------------------------------------------

NATIVE = project.PARAMS.replace("device: cpu", "device: cpu\n  precision: native")


@pytest.mark.parametrize(
    ("dtype", "name", "bits", "exponent"),
    [(np.float16, "F16", 16, -18), (np.float32, "F32", 32, -31)],
)
def test_native_precision_keeps_the_stored_dtype(
    ready: Project, dtype: type[np.floating[Any]], name: str, bits: int, exponent: int
) -> None:
    rows = project.tiny_matrix().astype(dtype)
    rows[2, 0] = np.nextafter(rows[2, 0], dtype(1))  # below what bfloat16 can tell apart
    ready.write_tensors("W.safetensors", {"W": rows})
    ready.write_params(NATIVE)
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    found = measurements(ready)
    assert found["vectors"].dtype == {"F16": torch.float16, "F32": torch.float32}[name]
    assert found["vectors"].shape == (5, 4)
    assert found["ulp"].tolist() == [2.0**exponent]
    assert found["distance_steps"].min() == 0
    assert metrics(ready)["cast"] == {
        "stored_bits": bits, "measured_bits": bits, "changed_tokens": 0,
    }  # fmt: skip
    assert metrics(ready)["matrix"]["dtype"] == {name: bits}
    assert metrics(ready)["matrix"]["measured"] == {name: bits}
    for radius, core in (("0", 2), ("1e9", 6)):
        ready.write_params(NATIVE, radius=radius)
        assert ready.stage_here("extract", "tiny") == Done(0, "", "")
        written = json.loads((ready.data / "core.json").read_text())
        assert written["core"]["tokens"] == core
    assert ready.command_here("summary").code == 0


def test_native_precision_of_bfloat16_is_the_default(done: Project) -> None:
    before = {name: (done.data / name).read_bytes() for name in OUTPUTS}
    done.write_params(NATIVE)
    assert done.stage_here("measure", "tiny") == Done(0, "", "")
    assert {name: (done.data / name).read_bytes() for name in OUTPUTS} == before


def test_native_precision_of_float64_is_refused(done: Project) -> None:
    done.write_tensors("W.safetensors", {"W": project.tiny_matrix().astype(np.float64)})
    done.write_params(NATIVE)
    project.check_stage_refuses(
        done, "measure", "W.safetensors: W: found float64; expected BF16, F16 or F32"
    )


@pytest.mark.parametrize("precision", ["float32", "Native", "16", "null"])
def test_precision_that_is_not_known_is_refused(done: Project, precision: str) -> None:
    done.write_params(NATIVE, precision=precision)
    project.check_stage_refuses(done, "measure", "measure.precision", "one of bfloat16, native")


# ---- the device ------------------------------------------------------------------------------


def written(made: Project) -> dict[str, bytes]:
    return {name: (made.data / name).read_bytes() for name in OUTPUTS}


@pytest.mark.parametrize("device", ["auto", *(name for name in THERE if THERE[name])])
def test_every_device_writes_the_same_bytes(ready: Project, device: str) -> None:
    ready.write_params(device=device)
    assert ready.stage_process("measure", "tiny") == Done(0, "", "")
    assert written(ready) == project.golden("measure")


def by_torch() -> Any:
    """Any device but the plain cpu is torch's; this one is everywhere."""
    return mock.patch.object(devices, "choose", return_value="cpu:0")


def test_torch_writes_the_same_bytes(ready: Project) -> None:
    ready.write_params(device="auto")
    with by_torch():
        assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    assert written(ready) == project.golden("measure")


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        (np.float16, "bfloat16"), (np.float32, "bfloat16"), (np.float64, "bfloat16"),
        (np.float16, "native"), (np.float32, "native"),
    ],
)  # fmt: skip
def test_torch_writes_the_same_bytes_of_other_dtypes(
    ready: Project, dtype: type[np.floating[Any]], precision: str
) -> None:
    matrix = project.tiny_matrix().astype(dtype)
    matrix[3, 0] *= dtype(1.001)
    ready.write_tensors("W.safetensors", {"W": matrix})
    ready.write_params(NATIVE, precision=precision)
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    expected = written(ready)
    with by_torch():
        assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    assert written(ready) == expected


def test_torch_refuses_in_the_same_words(done: Project) -> None:
    done.write_cluster([1, 12])
    where = "data/tiny/cluster_tokens.safetensors: cluster_token_ids"
    with by_torch():
        project.check_stage_refuses(done, "measure", where, "the id 12", "0 to 11", "12 rows")
    done.write_cluster(project.CLUSTER_IDS)
    matrix = project.tiny_matrix()
    matrix[5, 2] = np.nan
    done.write_tensors("W.safetensors", {"W": matrix})
    with by_torch():
        project.check_stage_refuses(
            done, "measure", "data/tiny/W.safetensors: W", "nan", "row 5", "dimension 2"
        )


def test_device_without_memory_is_one_line(done: Project) -> None:
    before, full = done.snapshot(), torch.OutOfMemoryError("CUDA out of memory")
    with by_torch(), mock.patch("core_tokens.torch_engine._measure", side_effect=full):
        ended = done.stage_here("measure", "tiny")
    assert ended == Done(1, "", "error: not enough memory\n")
    assert done.snapshot() == before


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_device_that_is_not_there_is_refused(done: Project, device: str) -> None:
    if THERE[device]:
        pytest.skip(f"torch finds {device} here")
    done.write_params(device=device)
    project.check_stage_refuses(
        done, "measure", f"params.yaml: measure.device: found {device}", "finds none here", "cpu",
        process=True,
    )  # fmt: skip


def run_without_torch(made: Project) -> Done:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['measure', 'tiny']\n"
        "import runpy; runpy.run_module('core_tokens.stages.measure', run_name='__main__')"
    )
    return project.run_process([sys.executable, "-W", "error", "-c", code], made.folder)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_without_torch_cpu_and_auto_write_the_same_bytes(ready: Project, device: str) -> None:
    ready.write_params(device=device)
    assert run_without_torch(ready) == Done(0, "", "")
    assert written(ready) == project.golden("measure")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_without_torch_other_devices_are_refused_with_how_to_install_it(
    done: Project, device: str
) -> None:
    done.write_params(device=device)
    before = done.snapshot()
    project.check_refusal(
        run_without_torch(done),
        f"params.yaml: measure.device: found {device}, but no torch",
        "pip install -c constraints.txt -e '.[torch]'",
    )
    assert done.snapshot() == before


# ---- the tokens' text -------------------------------------------------------------------------


def vocabulary_of(rows: int) -> list[dict[str, str | None]]:
    """A vocab.json with a Chinese character for every token but the last."""
    tokens: list[dict[str, str | None]] = [
        {"class": "ordinary", "text": chr(0x4E00 + row)} for row in range(rows - 1)
    ]
    return [*tokens, {"class": "padding", "text": None}]


def test_class_and_text_of_the_measured_tokens_are_written(ready: Project) -> None:
    (ready.data / "vocab.json").write_text(json.dumps(vocabulary_of(12)))
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    lines = [f"{token},ordinary,{chr(0x4E00 + token)}" for token in project.CLUSTER_IDS]
    written = (ready.data / "tokens.csv").read_text(encoding="utf-8")
    assert written == "\n".join(["token,class,text", *lines, ""])


@pytest.mark.parametrize("content", [json.dumps(vocabulary_of(11)), "{}", "[1]", "["])
def test_vocabulary_that_does_not_fit_is_refused(done: Project, content: str) -> None:
    (done.data / "vocab.json").write_text(content)
    project.check_stage_refuses(done, "measure", "data/tiny/vocab.json")


def test_tensor_that_was_taken_stands_in_the_metrics(ready: Project) -> None:
    (ready.data / "W.safetensors").write_bytes(
        safetensors.numpy.save({"W": project.tiny_matrix()}, {"tensor": "lm_head.weight"})
    )
    assert ready.stage_here("measure", "tiny") == Done(0, "", "")
    assert metrics(ready)["matrix"] == {
        "dtype": {"BF16": 16}, "measured": {"BF16": 16}, "tensor": {"lm_head.weight": 1},
    }  # fmt: skip
