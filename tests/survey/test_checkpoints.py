import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given

from core_tokens import sources
from core_tokens.errors import CoreTokensError, FileError, ParamsError
from core_tokens.params import Sources
from core_tokens.survey.checkpoints import Checkpoint, expand, natural, step_in
from hub_client import Client
from hub_server import Hub, Status

WHERE = "survey.run.sources"
ONE = np.ones((4, 3), np.float32)
MANY = np.stack([ONE, 2 * ONE, 3 * ONE])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(given: Sequence[str | Sources]) -> list[str]:
    return [each.name for each in expand(given, WHERE)]


def steps(given: Sequence[str | Sources]) -> dict[str, int | None]:
    return {each.name: each.step for each in expand(given, WHERE)}


def save(name: str, **tensors: Any) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(tensors, name)
    return name


def save_h5(name: str, **datasets: Any) -> str:
    with h5py.File(name, "w") as file:
        for each, data in datasets.items():
            file[each] = data
    return name


# ---- steps and order --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step1000", 1000), ("step-1000", 1000), ("step_1000", 1000), ("step=1000", 1000),
        ("Step1000", 1000), ("steps2", 2), ("checkpoint-500", 500), ("ckpt-500.safetensors", 500),
        ("iter_0001000", 1000), ("iteration-7", 7), ("iters3", 3), ("epoch=3", 3), ("update9", 9),
        ("42", 42), ("007", 7), ("0", 0),
        ("runs/42", 42), ("run-7/42", 42), ("a/step9/W.safetensors", 9),
        ("hf://org/model@step1000", 1000), ("a/12/b", 12), ("12/W.safetensors", 12), ("1/2", 2),
        ("step5/12", 5), ("12/step5", 5), ("step10.safetensors", 10), ("STEP-5", 5),
        ("hf://org/model@stage1-step1000-tokens5B", 1000),
        ("epoch=3-step=1500.safetensors", 1500), ("step5/epoch6", 6),
        ("global_step100", 100), ("main-step2", 2), ("step000000000000000001", 1),
        ("step" + "9" * 18, 10**18 - 1), ("9" * 18, 10**18 - 1),
        ("Qwen2.5-7B", None), ("hf://Qwen/Qwen2.5-7B", None), ("hf://org/model@main", None),
        ("hf://org/model@v1.0", None), ("W.safetensors", None), ("step", None), ("", None),
        ("step-", None), ("stepx9", None), ("model-00001-of-00002", None), ("9" * 19, None),
        ("step" + "9" * 19, None), ("hf://org/model@" + "3a" * 20, None), ("²", None),
        ("hf://org/42", 42), ("a/", None), ("run7/W", None), ("hf://org/model@1000", None),
        ("footstep12", None), ("Footstep12", None), ("substeps=3", None), ("step10.5", None),
        ("epoch=1.5", None), ("runs/4.2", None), ("7.safetensors", None),
        ("step3/step10.5", 3),
    ],
)  # fmt: skip
def test_the_step_that_a_name_speaks_of(name: str, step: int | None) -> None:
    assert step_in(name) == step


@given(st.text())
def test_a_step_fits_into_64_bits_whatever_the_name(name: str) -> None:
    for each in (name, f"step{name}", f"{name}7"):
        found = step_in(each)
        assert found is None or 0 <= found < 2**63


@given(st.lists(st.integers(0, 10**20), min_size=1))
def test_numbers_are_ordered_by_their_value(numbers: list[int]) -> None:
    written = sorted((f"step{number}/W" for number in numbers), key=natural)
    assert written == [f"step{number}/W" for number in sorted(numbers)]


@given(*[st.text("ab09\u0663/-", max_size=6)] * 2)
def test_names_that_differ_in_leading_zeros_alone_are_ordered_by_their_text(
    one: str, other: str
) -> None:
    short = [re.sub(r"\d+", lambda digits: str(int(digits[0])), each) for each in (one, other)]
    assert (natural(one) == natural(other)) == (one == other)
    assert (natural(one) < natural(other)) == (not natural(other) <= natural(one))
    if short[0] == short[1]:
        assert (natural(one) < natural(other)) == (one < other)


@given(st.permutations(["step1", "step01", "step001", "step2", "step02", "a"]))
def test_the_order_does_not_depend_on_that_in_which_a_folder_is_listed(given: list[str]) -> None:
    expected = ["a", "step001", "step01", "step1", "step02", "step2"]
    assert sorted(given, key=natural) == expected


def test_the_natural_order_of_an_example() -> None:
    given = ["step10", "step9", "a10b2", "a10b10", "a9", "step1", "step", "10", "9"]
    expected = ["9", "10", "a9", "a10b2", "a10b10", "step", "step1", "step9", "step10"]
    assert sorted(given, key=natural) == expected


# ---- paths ------------------------------------------------------------------------------------


def test_a_path_is_a_checkpoint_by_the_name_that_was_given(here: Path) -> None:
    (here / "model").mkdir()
    save("step7.safetensors", W=ONE)
    found = expand(["model", Sources("step7.safetensors", None, "embedding", "W")], WHERE)
    assert found == [
        Checkpoint("model", None, here / "model"),
        Checkpoint("step7.safetensors", 7, here / "step7.safetensors", "W", "embedding"),
    ]
    assert [each.path for each in found] == ["model", "step7.safetensors"]
    assert all(isinstance(each.source, Path) and each.source.is_absolute() for each in found)


def test_a_pattern_is_its_paths_in_natural_order(here: Path) -> None:
    for step in (9, 10, 100, 1):
        save(f"run/step{step}/model.safetensors", W=ONE)
    wanted = [f"run/step{step}" for step in (1, 9, 10, 100)]
    assert names(["run/step*"]) == wanted
    assert steps(["run/step*"]) == dict(zip(wanted, (1, 9, 10, 100), strict=True))
    assert names([str(here / "run/step*")]) == [str(here / each) for each in wanted]
    assert names(["run/step?", "run/step1[0-9]*"]) == [wanted[0], wanted[1], wanted[2], wanted[3]]
    assert names(["**/*.safetensors"]) == [f"{each}/model.safetensors" for each in wanted]


def test_a_tilde_is_the_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    save("run/step1.safetensors", W=ONE)
    wanted = [str(here / "run/step1.safetensors")]
    assert names(["~/run/step1.safetensors"]) == wanted
    assert names(["~/run/*"]) == wanted


def test_a_tilde_of_nobody_is_a_name(here: Path) -> None:
    assert names(["~nobody-here/x"]) == ["~nobody-here/x"]
    (here / "~nobody-here").mkdir()
    save("~nobody-here/x", W=ONE)
    assert names(["~nobody-here/*"]) == ["~nobody-here/x"]


def test_a_name_of_wild_characters_that_is_there_is_no_pattern() -> None:
    save("a[1]*.safetensors", W=ONE)
    save("a1x.safetensors", W=ONE)
    assert names(["a[1]*.safetensors"]) == ["a[1]*.safetensors"]


def test_a_checkpoint_stands_there_once_where_it_came_first() -> None:
    for step in (1, 2, 3):
        save(f"step{step}.safetensors", W=ONE)
    given = ["step2.safetensors", "step*.safetensors", "step2.safetensors"]
    assert names(given) == [f"step{step}.safetensors" for step in (2, 1, 3)]


def test_a_path_where_nothing_is_stays_a_checkpoint(here: Path) -> None:
    assert expand(["runs/step5"], WHERE) == [Checkpoint("runs/step5", 5, here / "runs/step5")]


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"])
def test_a_broken_file_stays_a_checkpoint(here: Path, content: bytes) -> None:
    (here / "step5.bin").write_bytes(content)
    expected = [Checkpoint("step5.bin", 5, here / "step5.bin")]
    assert expand(["step5.bin"], WHERE) == expected
    assert expand(["*.bin"], WHERE) == expected


@pytest.mark.parametrize("pattern", ["step*", "nowhere/**/*.h5", "/nowhere/step[0-9]", "?"])
def test_a_pattern_that_matches_nothing_is_an_error_at_its_key(pattern: str) -> None:
    save("W.safetensors", W=ONE)
    with pytest.raises(ParamsError) as caught:
        expand(["W.safetensors", Sources(pattern)], WHERE)
    assert str(caught.value) == (
        f"params.yaml: survey.run.sources[1]: found {pattern!r}, which matches nothing here; "
        "expected a path"
    )


@pytest.mark.parametrize(
    "source",
    ["", "s3://bucket/W", "https://example.org/W.safetensors", "file:///W", "gs:/x", "replica:no",
     "replica:", "hf://", "hf://org", "hf://org/model@", "hf://org/a/b", "hf://o r g/x",
     "hf://org/model@a b", "hf:", "hf:x", "hf:org/model", "hf:org/model@step*", "hf:/org/model"],
)  # fmt: skip
def test_what_is_no_source_is_an_error_at_its_key(source: str) -> None:
    with pytest.raises(CoreTokensError) as caught:
        expand(["somewhere", source], WHERE)
    assert str(caught.value).startswith("params.yaml: survey.run.sources[1]: found ")
    assert "; expected " in str(caught.value)


def test_a_replica_is_a_checkpoint() -> None:
    (found,) = expand(["replica:qwen2-5-3b-instruct"], WHERE)
    assert found == Checkpoint(
        "replica:qwen2-5-3b-instruct", None, sources.Replica("qwen2-5-3b-instruct")
    )


# ---- files of many ----------------------------------------------------------------------------


def check_many(
    path: str, tensor: str, expected: Sequence[int | None], given: Sources | None = None
) -> None:
    found = expand([given or path], WHERE)
    assert found == [
        Checkpoint(f"{path}[{at}]", step, Path(path).absolute(), tensor, "unembedding", at)
        for at, step in enumerate(expected)
    ]
    assert {each.path for each in found} == {path}


def test_the_only_tensor_of_rank_three_is_many_checkpoints_of_unknown_steps() -> None:
    check_many(save("run.safetensors", logs=MANY), "logs", [None] * 3)
    check_many(save_h5("run.h5", logs=MANY), "logs", [None] * 3)


def test_a_number_in_the_name_of_a_file_of_many_is_the_step_of_none() -> None:
    check_many(save("step7.safetensors", logs=MANY), "logs", [None] * 3)


def test_steps_beside_the_matrices_are_theirs() -> None:
    kept = np.array([0, 512, 10**12], np.int64)
    check_many(save("run.safetensors", logs=MANY, steps=kept), "logs", [0, 512, 10**12])
    check_many(save_h5("run.h5", logs=MANY, steps=kept), "logs", [0, 512, 10**12])


def test_a_tensor_among_others_is_to_be_named() -> None:
    path = save("run.safetensors", logs=MANY, other=MANY, steps=np.arange(3) * 7)
    assert steps([path]) == {"run.safetensors": None}
    check_many(path, "logs", [0, 7, 14], Sources(path, tensor="logs"))
    path = save_h5("run.h5", logs=MANY, other=MANY, steps=np.arange(3) * 7)
    assert steps([path]) == {"run.h5": None}
    check_many(path, "logs", [0, 7, 14], Sources(path, tensor="logs"))


def test_a_matrix_alone_is_one_checkpoint(here: Path) -> None:
    path = save("step3.safetensors", W=ONE)
    assert expand([path], WHERE) == [Checkpoint(path, 3, here / path)]
    path = save_h5("step4.h5", W=ONE)
    assert expand([path], WHERE) == [Checkpoint(path, 4, here / path, "W")]


def test_a_tensor_that_is_not_there_is_found_missing_when_it_is_read(here: Path) -> None:
    for path in (save("run.safetensors", logs=MANY), save_h5("run.h5", logs=MANY)):
        given = [Sources(path, tensor="no")]
        assert expand(given, WHERE) == [Checkpoint(path, None, here / path, "no")]


def test_many_in_several_files_of_a_pattern_are_ordered_by_file_and_place() -> None:
    for nth in (10, 9):
        save_h5(f"run{nth}.h5", logs=MANY[:2], steps=np.array([nth, nth + 1]))
    assert steps(["run*.h5"]) == {
        "run9.h5[0]": 9, "run9.h5[1]": 10, "run10.h5[0]": 10, "run10.h5[1]": 11,
    }  # fmt: skip


@pytest.mark.parametrize(
    "dtype", ["int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"]
)
def test_steps_are_whole_numbers_of_any_width(dtype: str) -> None:
    largest = min(np.iinfo(dtype).max, 2**63 - 1)
    kept = np.array([0, 7, largest], dtype)
    check_many(save("run.safetensors", logs=MANY, steps=kept), "logs", [0, 7, largest])
    check_many(save_h5("run.h5", logs=MANY, steps=kept), "logs", [0, 7, largest])


@pytest.mark.parametrize(
    "kept",
    [
        np.arange(2), np.arange(4), np.zeros((3, 1), np.int64), np.zeros(3, bool),
        np.array([0, 1, 2**63], np.uint64), np.array([0, 0.5, 1]), np.array([0, 1, np.nan], "f4"),
    ],
    ids=str,
)  # fmt: skip
def test_steps_that_do_not_fit_are_unknown_and_not_made_up(kept: Any) -> None:
    check_many(save("run.safetensors", logs=MANY, steps=kept), "logs", [None] * 3)
    check_many(save_h5("run.h5", logs=MANY, steps=kept), "logs", [None] * 3)


def test_a_file_of_no_matrices_is_one_checkpoint_that_will_fail(here: Path) -> None:
    none = np.zeros((0, 4, 3), np.float32)
    for path in (save("run.safetensors", logs=none), save_h5("run.h5", logs=none)):
        assert expand([path], WHERE) == [Checkpoint(path, None, here / path, "logs")]


def test_a_dataset_of_no_shape_is_no_matrix() -> None:
    check_many(save_h5("run.h5", logs=MANY, note=h5py.Empty("f4")), "logs", [None] * 3)
    check_many(save_h5("run.h5", logs=MANY, steps=h5py.Empty("i8")), "logs", [None] * 3)


@pytest.mark.parametrize(
    "name", ["x[1]", "step[2].h5", "x[0]", "x[None]", "x#logs", "x#unembedding", "x[0]#logs"]
)
def test_brackets_and_hashes_in_a_name_are_of_the_name(name: str) -> None:
    path = save_h5(name, logs=MANY)
    assert [each.path for each in expand([path], WHERE)] == [name] * 3
    given = [Sources(path, tensor="logs"), Sources(path, None, "embedding", "logs")]
    assert [each.path for each in expand(given, WHERE)] == [name] * 6
    path = save(name, W=ONE)
    assert [each.path for each in expand([path], WHERE)] == [name]


# ---- several of one path ----------------------------------------------------------------------


def test_several_matrices_of_a_path_have_names_of_their_own(here: Path) -> None:
    (here / "model").mkdir()
    given: list[str | Sources] = [
        "model",
        Sources("model", None, "embedding"),
        Sources("model", tensor="x"),
        "other",
    ]
    found = expand(given, WHERE)
    assert [each.name for each in found] == [
        "model#unembedding", "model#embedding", "model#x", "other",
    ]  # fmt: skip
    assert [each.path for each in found] == ["model"] * 3 + ["other"]
    assert [each.which for each in found[:2]] == ["unembedding", "embedding"]
    assert names(["model", "model"]) == ["model"]


def test_several_tensors_of_a_file_of_many_have_names_of_their_own() -> None:
    for path in (
        save("run.safetensors", a=MANY[:2], b=MANY, steps=np.arange(2)),
        save_h5("run.h5", a=MANY[:2], b=MANY, steps=np.arange(2)),
    ):
        found = expand([Sources(path, tensor="a"), Sources(path, tensor="b")], WHERE)
        assert [each.name for each in found] == [
            f"{path}[0]#a", f"{path}[1]#a", f"{path}[0]#b", f"{path}[1]#b", f"{path}[2]",
        ]  # fmt: skip
        assert [each.step for each in found] == [0, 1, None, None, None]
        assert {each.path for each in found} == {path}


def test_several_matrices_of_a_model_have_names_of_their_own() -> None:
    given: list[str | Sources] = [
        "hf://org/m@step5",
        Sources("hf://org/m@step5", None, "embedding"),
    ]
    assert steps(given) == {
        "hf://org/m@step5#unembedding": 5, "hf://org/m@step5#embedding": 5,
    }  # fmt: skip


# ---- the hub ----------------------------------------------------------------------------------


def test_a_model_is_a_checkpoint_at_a_revision() -> None:
    found = expand(["hf://org/model", Sources("hf://org/m@step5", None, "embedding", "x")], WHERE)
    assert found == [
        Checkpoint("hf://org/model", None, sources.Model("org/model", None)),
        Checkpoint("hf://org/m@step5", 5, sources.Model("org/m", "step5"), "x", "embedding"),
    ]


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ("hf://org/42", None), ("hf://org/step5", None), ("hf://step5/model", None),
        ("hf://org/step5@main", None), ("hf://org/step5@step9", 9), ("hf://org/model@1000", 1000),
        ("hf://org/model@stage1-step1000-tokens5B", 1000), ("hf://org/42@v1.0", None),
    ],
)  # fmt: skip
def test_of_a_model_at_the_hub_the_revision_tells_the_step(source: str, step: int | None) -> None:
    assert steps([source]) == {source: step}


def test_a_list_of_revisions_stays_in_its_order_numbers_among_them() -> None:
    given = Sources("hf://org/model@step{rev}-x", [1000, 9, "0010"])
    assert steps([given]) == {
        "hf://org/model@step1000-x": 1000, "hf://org/model@step9-x": 9,
        "hf://org/model@step0010-x": 10,
    }  # fmt: skip
    assert names([Sources("hf://org/model@{rev}", ["main", 7])]) == [
        "hf://org/model@main", "hf://org/model@7",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "rev", "key"),
    [
        ("hf://org/model@{rev}", None, ""),
        ("hf://org/model", ["main"], ""),
        ("hf://org/model@main", ["main"], ""),
        ("hf://org/model", "step*", ""),
        ("hf://org/model@{rev}", [], ".rev"),
        ("step{rev}", None, ""),
        ("step{rev}", [1, 2], ""),
        ("steps", [1, 2], ""),
        ("replica:qwen2-5-3b-instruct", "x", ""),
        ("hf://org/{rev}@main", ["x"], ""),
        ("hf://org/model@{rev}", [""], ""),
        ("hf://org/model@{rev}", ["a b"], ""),
        ("hf://org/model@{rev}", ["main", "a@b"], ""),
    ],
)
def test_revisions_that_do_not_fit_are_an_error_at_their_key(
    source: str, rev: Any, key: str
) -> None:
    with pytest.raises(CoreTokensError) as caught:
        expand([Sources(source, rev)], WHERE)
    assert str(caught.value).startswith(f"params.yaml: survey.run.sources[0]{key}: found ")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub({"org/run": {"config.json": b"{}"}}) as running:
        commit = running.commit("org/run")
        refs = ["step9", "step10", "step100", "other", "refs/tags/step11", "refs/tags/v1", "7", "8"]
        running.repos["org/run"].refs |= dict.fromkeys(refs, commit)
        yield running


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("home")
    with Client({**hub.environment(home), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}) as asking:
        yield asking


def asked(client: Client, source: str, rev: Any) -> Any:
    """Names and steps, found by a process that uses the hub; or its error."""
    (found,) = client.ask(
        f"[[each.name, each.step] for each in {module('survey.checkpoints')}.expand("
        f"[{module('params')}.Sources({source!r}, {rev!r})], {WHERE!r})]"
    )
    return found


def module(name: str) -> str:
    return f"__import__('core_tokens.{name}', fromlist=['x'])"


@pytest.mark.parametrize(
    ("pattern", "rev", "expected"),
    [
        ("{rev}", "step*", [("step9", 9), ("step10", 10), ("step11", 11), ("step100", 100)]),
        ("step{rev}", "?", [("step9", 9)]),
        ("step{rev}", "1[01]", [("step10", 10), ("step11", 11)]),
        ("{rev}", "[0-9]", [("7", 7), ("8", 8)]),
        ("{rev}", "v*", [("v1", None)]),
        ("{rev}", ["main", "step1?"], [("main", None), ("step10", 10), ("step11", 11)]),
        ("step1*", None, [("step10", 10), ("step11", 11), ("step100", 100)]),
    ],
)
def test_a_pattern_is_the_branches_and_tags_like_it_in_natural_order(
    hub: Hub, client: Client, pattern: str, rev: Any, expected: list[tuple[str, int | None]]
) -> None:
    hub.faults.clear()
    found = asked(client, f"hf://org/run@{pattern}", rev)
    assert found == [[f"hf://org/run@{name}", step] for name, step in expected]


@pytest.mark.parametrize(
    ("pattern", "rev"), [("{rev}", "none*"), ("no-{rev}", "step*"), ("STEP*", None)]
)
def test_a_pattern_like_no_revision_is_an_error_at_its_key(
    hub: Hub, client: Client, pattern: str, rev: Any
) -> None:
    hub.faults.clear()
    wanted = pattern.replace("{rev}", rev or "")
    assert asked(client, f"hf://org/run@{pattern}", rev) == (
        f"ParamsError: params.yaml: survey.run.sources[0]: found no revision of org/run like "
        f"{wanted!r}; expected some"
    )


def test_revisions_that_are_listed_are_not_asked_for(hub: Hub, client: Client) -> None:
    hub.reset()
    assert len(asked(client, "hf://org/run@{rev}", ["none", "nothing", 5])) == 3
    assert hub.log == ()


def test_a_hub_that_does_not_answer_is_an_error_of_it(hub: Hub, client: Client) -> None:
    hub.faults.add("/api/models/*/refs", Status(404), times=None)
    found = asked(client, "hf://org/run@{rev}", "step*")
    assert found.startswith(f"{FileError.__name__}: hf://org/run: found ")
    hub.faults.clear()


def test_a_file_that_may_not_be_read_stays_a_checkpoint(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save("step5.safetensors", W=MANY)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", os.fspath(here / path))

    monkeypatch.setattr(Path, "open", refuse)
    assert expand([path], WHERE) == [Checkpoint(path, 5, here / path)]
