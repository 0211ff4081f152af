import ast
import graphlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import imports
from core_tokens.pictures import PICTURES

ROOT = imports.SOURCE.parent
PACKAGE = imports.SOURCE / "core_tokens"
STAGES = sorted(p.stem for p in (PACKAGE / "stages").glob("*.py") if p.stem != "__init__")

MAY_IMPORT = {
    "errors": set[str](),
    "bits": {"errors"},
    "parallel": set[str](),
    "sketch": {"bits", "parallel"},
    "groups": {"errors", "bits", "parallel", "sketch"},
    "distances": {"errors", "bits", "parallel"},
    "neighbours": {"errors", "bits", "distances", "parallel", "sketch"},
    "measurements": {"errors", "bits", "distances", "groups", "parallel"},
    "scan": {"errors", "bits", "distances", "groups", "parallel", "sketch"},
    "clusters": {"errors", "groups", "neighbours", "measurements", "scan", "sketch"},
    "core": {"errors"},
    "structure": set[str](),
    "structure.diversity": {"bits", "structure"},
    "structure.quantization": {"bits", "structure"},
    "structure.cross_section": {"errors", "bits", "distances", "structure"},
    "structure.pairs": {"parallel", "structure"},
    "structure.adjacency": {"bits", "structure", "structure.pairs"},
    "structure.shells": {"structure"},
    "structure.tokens": {"structure"},
    "structure.layout": {"structure", "structure.adjacency"},
    "structure.analysis": {
        "structure",
        "structure.shells",
        "structure.diversity",
        "structure.quantization",
        "structure.cross_section",
        "structure.adjacency",
    },
    "tables": set[str](),
    "structure_tables": {"errors", "core", "tables"},
    "structure_metrics": {"tables"},
    "survey": set[str](),
    "survey.snapshot": {
        "bits", "clusters", "measurements", "parallel", "structure", "structure.adjacency",
        "structure.diversity", "structure.shells", "survey", "tables",
    },
    "survey.histories": {"survey"},
    "survey.tables": {"survey", "survey.histories", "tables"},
}  # fmt: skip
"""The pure modules from the bottom up, and what each may import of the package."""
PURE = set(MAY_IMPORT) - {"errors"}  # whose messages name files
OUTSIDE = {
    "pathlib", "os", "io", "shutil", "subprocess", "tempfile", "sys", "time", "datetime", "random",
    "yaml", "ruamel", "dvc", "tqdm", "msgspec", "safetensors", "torch", "argparse", "logging",
}  # fmt: skip
"""Paths, YAML, DVC, printing, clocks and the like: what ties arithmetic to its surroundings."""
EXCEPTED = {"tables": {"io"}, "parallel": {"os"}}
"""Text in memory, and how many cores there are."""
NETWORK = ["huggingface_hub", "httpx2", "tokenizers"]
DRAWING = ["altair", "vl_convert", "jinja2"]
HEAVY = {"cluster": ["torch", "dvc", *NETWORK], "measure": ["torch", "scipy", "dvc", *NETWORK],
         "extract": ["torch", "scipy", "dvc", *NETWORK, *DRAWING],
         "analyse": ["torch", "dvc", *NETWORK, *DRAWING],
         "draw": ["torch", "scipy", "dvc", *NETWORK],
         "fetch": ["torch", "dvc", *NETWORK],
         "survey": ["torch", "dvc", "distributed", *NETWORK, *DRAWING]}  # fmt: skip


def modules() -> list[str]:
    """Every module of the package by its dotted name."""
    paths = [path.relative_to(imports.SOURCE) for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)


def tree_of(module: str) -> ast.Module:
    path = imports.path_of(module)
    assert path is not None, module
    return ast.parse(path.read_text(encoding="utf-8"))


def outside_imports(module: str) -> set[str]:
    """The top-level names of everything that a module imports, whatever block it stands in."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found - {"core_tokens", "__future__"}


def loaded_by(module: str) -> set[str]:
    """What is in sys.modules after a fresh interpreter imported one module."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, cwd=imports.SOURCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def read_yaml(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_bytes())


TWIN = "cluster-at"
"""The stage `cluster` for models with a threshold of their own."""


def stages() -> dict[str, Any]:
    """The stages of dvc.yaml but for the twin: name -> what it does, without its foreach."""
    every = read_yaml("dvc.yaml")["stages"]
    return {name: stage.get("do", stage) for name, stage in every.items() if name != TWIN}


# The direction.


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_pure_module_imports_only_what_lies_below_it(name: str) -> None:
    found = imports.direct_imports(f"core_tokens.{name}") - {"core_tokens"}
    assert found <= {f"core_tokens.{allowed}" for allowed in MAY_IMPORT[name]}


def test_the_allowed_imports_have_no_cycle() -> None:
    names = list(MAY_IMPORT)
    for at, name in enumerate(names):
        assert MAY_IMPORT[name] <= set(names[:at])


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_knows_no_paths_yaml_dvc_or_clocks(name: str) -> None:
    found = outside_imports(f"core_tokens.{name}")
    assert not found & (OUTSIDE - EXCEPTED.get(name, set()))


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_neither_prints_nor_opens(name: str) -> None:
    calls = {
        node.func.id
        for node in ast.walk(tree_of(f"core_tokens.{name}"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "open", "input", "exec", "eval"}


def test_the_errors_know_only_paths_of_what_lies_outside() -> None:
    assert outside_imports("core_tokens.errors") <= {"collections", "contextlib", "pathlib"}


@pytest.mark.parametrize("module", modules())
def test_no_module_imports_a_stage(module: str) -> None:
    own = {"core_tokens.stages"} if module.startswith("core_tokens.stages") else set()
    found = {name for name in imports.direct_imports(module) if ".stages" in name}
    assert found <= own


def test_imports_run_downwards_only() -> None:
    graph = {}
    for module in modules():
        # That a module lies in a package is no import of what the package gathers.
        found = imports.direct_imports(module)
        graph[module] = {name for name in found if not f"{module}.".startswith(f"{name}.")}
    assert sorted(graphlib.TopologicalSorter(graph).static_order()) == modules()


def test_the_plumbing_imports_no_numbers() -> None:
    plumbing = ("console", "disk", "errors", "files", "params", "yaml_text")
    for name in plumbing:
        found = imports.all_imports(f"core_tokens.{name}")
        assert found <= {"core_tokens", *(f"core_tokens.{each}" for each in plumbing)}


# What a stage really loads.


@pytest.mark.parametrize("module", [f"core_tokens.stages.{stage}" for stage in STAGES] + [
    "core_tokens.cli", "core_tokens.tables", "core_tokens.core",
])  # fmt: skip
def test_the_imports_read_from_the_source_are_those_that_happen(module: str) -> None:
    loaded = {name for name in loaded_by(module) if name.split(".")[0] == "core_tokens"}
    assert loaded == imports.all_imports(module, inner=False)


@pytest.mark.parametrize(("stage", "heavy"), HEAVY.items())
def test_a_stage_starts_without_what_it_does_not_need(stage: str, heavy: list[str]) -> None:
    top = {name.split(".")[0] for name in loaded_by(f"core_tokens.stages.{stage}")}
    assert "core_tokens" in top
    assert not top & set(heavy)


def test_the_command_line_starts_without_torch_a_network_or_pictures() -> None:
    loaded = {name.split(".")[0] for name in loaded_by("core_tokens.cli")}
    assert not loaded & {"torch", *NETWORK, *DRAWING}


# Stage = module = params block = test file.


def test_every_stage_has_a_module_and_every_module_a_stage() -> None:
    assert sorted(stages()) == STAGES
    assert STAGES


def test_a_threshold_of_its_own_is_all_that_tells_the_twin_of_cluster_apart() -> None:
    twin = read_yaml("dvc.yaml")["stages"][TWIN]
    assert twin["foreach"] == "${cluster.discover_at}"
    text = json.dumps(twin["do"]).replace("${key}", "${item}")
    expected = stages()["cluster"] | {"params": ["cluster.discover_at.${item}"]}
    assert json.loads(text) == expected


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_test_file(stage: str) -> None:
    assert (Path(__file__).parent / "stages" / f"test_{stage}.py").is_file()


EXAMPLE = "examples/training_run/params.yaml"
"""Has a survey, where the project has none by default."""
WHOLE = ("pictures", "replica", "structure", "survey")
"""Packages that a stage depends on as folders, each for one purpose."""


@pytest.mark.parametrize("stage", STAGES)
def test_the_sources_among_the_deps_of_a_stage_are_exactly_its_imports(stage: str) -> None:
    expected = set()
    for name in imports.all_imports(f"core_tokens.stages.{stage}"):
        path = imports.path_of(name)
        assert path is not None, name
        package = path.relative_to(PACKAGE).parts[0]
        expected.add(PACKAGE / package if package in WHOLE else path)
    deps = stages()[stage]["deps"]
    sources = [dep for dep in deps if not dep.startswith(("data/", ".names/"))]
    assert sources == sorted(str(path.relative_to(ROOT)) for path in expected)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_whose_name_leads_out_of_data_depends_on_where_its_outputs_would_lie(
    stage: str,
) -> None:
    (guard,) = {dep for dep in stages()[stage]["deps"] if dep.startswith(".names/")}
    anchor, *rest = Path(guard).parts
    assert (ROOT / anchor).is_file()
    if stage == "survey":  # whose outputs lie one folder deeper
        assert rest == ["surveys", "${key}", "..", ".."]
    else:
        assert rest == ["${key}" if stage == "fetch" else "${item}", ".."]


def test_what_python_leaves_beside_the_sources_is_no_dependency() -> None:
    assert "__pycache__/" in (ROOT / ".dvcignore").read_text().splitlines()


def test_what_a_killed_run_leaves_is_nothing_to_dvc_or_git() -> None:
    for name in (".dvcignore", ".gitignore"):
        assert ".*.tmp" in (ROOT / name).read_text().splitlines()


def test_the_data_among_the_deps_of_a_stage_is_what_the_others_make() -> None:
    def files(stage: str, *keys: str) -> list[str]:
        listed = [entry for key in keys for entry in stages()[stage].get(key, [])]
        names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in listed]
        return [
            re.sub(r"\$\{\w+\}", "MODEL", name) for name in names if name.startswith("data/")
        ]  # fmt: skip

    data = {stage: files(stage, "deps") for stage in STAGES}
    folder = "data/MODEL"
    assert data == {
        "fetch": [],
        "cluster": [f"{folder}/W.safetensors", f"{folder}/vocab.json"],
        "measure": [
            f"{folder}/W.safetensors",
            f"{folder}/cluster_tokens.safetensors",
            f"{folder}/vocab.json",
        ],
        "extract": [f"{folder}/measurements.safetensors", f"{folder}/tokens.csv"],
        "analyse": [
            f"{folder}/measurements.safetensors",
            f"{folder}/core_tokens.safetensors",
            f"{folder}/tokens.csv",
        ],
        "draw": [f"{folder}/plots"],
        "survey": [],
    }
    made = [name for stage in STAGES for name in files(stage, "outs", "metrics", "plots")]
    assert len(made) == len(set(made))
    assert {f"{folder}/plots/{name}.csv" for name in PICTURES} <= set(made)
    taken = {name for names in data.values() for name in names} - set(data["draw"])
    assert taken <= set(made)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_its_module_run_for_one_model(stage: str) -> None:
    command = stages()[stage]["cmd"]
    assert command == f"python -m core_tokens.stages.{stage}"  # and no name, which is shell text
    assert stages()[stage]["desc"]


@pytest.mark.parametrize("stage", sorted({*STAGES} - {"analyse"}))  # which has nothing to set
def test_the_parameters_of_a_stage_are_its_own_block_and_exist(stage: str) -> None:
    params = read_yaml("params.yaml") | {"survey": read_yaml(EXAMPLE)["survey"]}
    assert stages()[stage]["params"]
    for key in stages()[stage]["params"]:
        block, *rest = key.split(".")
        assert block == stage
        found = params[block]
        for part in rest:
            assert part == "${key}" or part in found
            found = found[next(iter(found)) if part == "${key}" else part]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_for_each_model_of_a_list_in_the_parameters(stage: str) -> None:
    text = read_yaml("dvc.yaml")["stages"][stage]["foreach"]
    assert re.fullmatch(r"\$\{[a-z.]+\}", text)
    found = read_yaml("params.yaml") | {"survey": read_yaml(EXAMPLE)["survey"]}
    for part in text[2:-1].split("."):
        found = found[part]
    assert found
