import csv
import json
import os
import statistics
import struct
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import project
from core_tokens import tensors
from project import Done, Project

PICTURES = {
    "curve_ulp", "curve_steps", "curve_l2", "shells", "populations", "rulers", "diversity",
    "quantization", "cross_section", "adjacency", "kinds",
}  # fmt: skip
OUTPUTS = {"structure.json", *(f"plots/{name}.csv" for name in PICTURES)}
RADII = {"ulp": "2.0", "steps": "3", "l2": "5e-05"}
"""The radii of the golden cores."""
MEASURED, CORE = "measurements.safetensors", "core_tokens.safetensors"
GOLDEN = project.GOLDEN / "analyse"


@pytest.fixture
def ready(tmp_path: Path) -> Project:
    """Measurements, a core and params.yaml: analyse needs nothing else, W least of all."""
    made = Project(tmp_path)
    made.write_params()
    made.data.mkdir(parents=True)
    (made.data / MEASURED).write_bytes(project.golden("measure")[MEASURED])
    (made.data / CORE).write_bytes(project.golden("extract-ulp")[CORE])
    return made


@pytest.fixture
def done(ready: Project) -> Project:
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    return ready


def below(folder: Path) -> dict[str, bytes]:
    """The outputs in a folder: name -> bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "structure.json", *(folder / "plots").iterdir())
    }


def metrics(made: Project) -> Any:
    return json.loads((made.data / "structure.json").read_text())


def table(made: Project, name: str) -> list[dict[str, str]]:
    text = (made.data / "plots" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def read_all(made: Project, name: str = MEASURED) -> dict[str, NDArray[Any]]:
    names = tensors.entries(made.data / name)
    schema = {each: (entry.dtype, entry.shape) for each, entry in names.items()}
    return tensors.read(made.data / name, schema)


def write_all(made: Project, arrays: dict[str, NDArray[Any]], name: str = MEASURED) -> None:
    (made.data / name).write_bytes(tensors.to_bytes(arrays))


def extract(made: Project, ruler: str, radius: str) -> None:
    made.write_params(distance=ruler, radius=radius)
    assert made.stage_here("extract", "tiny") == Done(0, "", "")


# ---- what is in the cluster of ``tiny``, once more ---------------------------------------------


class Vector(NamedTuple):
    """One distinct row, by plain loops over the matrix."""

    values: tuple[float, ...]
    places: tuple[int, ...]
    tokens: list[int]
    distances: dict[str, float]


def place(value: float) -> int:
    """Where a bfloat16 lies among all of them: its bits, mirrored below zero."""
    (bits,) = struct.unpack(">I", struct.pack(">f", abs(value)))
    return int(bits >> 16) * (-1 if value < 0 else 1)


def cluster() -> list[Vector]:
    """In lexicographic order; the origin is the first of the most populated."""
    matrix = project.tiny_matrix().astype(np.float64)
    tokens: dict[tuple[float, ...], list[int]] = {}
    for token in project.CLUSTER_IDS:
        tokens.setdefault(tuple(value + 0.0 for value in matrix[token].tolist()), []).append(token)
    rows = sorted(tokens)
    origin = max(rows, key=lambda row: len(tokens[row]))
    vectors = []
    for row in rows:
        apart = [abs(a - b) for a, b in zip(row, origin, strict=True)]
        steps = [abs(place(a) - place(b)) for a, b in zip(row, origin, strict=True)]
        length = float(sum(Fraction(each) ** 2 for each in apart)) ** 0.5
        distances = {
            "ulp": max(apart) / project.UNIT,
            "steps": float(max(steps)),
            "l2": float(np.float32(length)),
        }
        vectors.append(Vector(row, tuple(map(place, row)), tokens[row], distances))
    return vectors


def structure_of(vectors: list[Vector]) -> dict[str, Any]:
    """One half of structure.json, question by question."""
    counts = [len(vector.tokens) for vector in vectors]
    distances = [vector.distances["ulp"] for vector in vectors]
    nearest = [round(distance) for distance in distances]
    columns = list(zip(*(map(Fraction, vector.values) for vector in vectors), strict=True))
    distinct = [len(set(column)) for column in columns]
    gaps = gaps_of(vectors)
    variances = [statistics.variance(column) / Fraction(project.UNIT) ** 2 for column in columns]
    x, y = sorted(range(len(columns)), key=lambda at: (-variances[at], at))[:2]
    return {
        "shells": {
            "gap_at": min(set(range(99)) - set(nearest)),
            "whole_percent": 100 * sum(map(float.is_integer, distances)) / len(vectors),
            "r90_vectors": radius_of(distances, [1] * len(vectors)),
            "r90_tokens": radius_of(distances, counts),
        },
        "diversity": {
            "constant_dimensions": distinct.count(1),
            "varying_dimensions": len(distinct) - distinct.count(1),
            "distinct_mean": sum(distinct) / len(distinct),
            "distinct_median": statistics.median(distinct),
            "distinct_max": max(distinct),
            "distinct_max_dimension": distinct.index(max(distinct)),
        },
        "quantization": {
            "gaps": sum(map(len, gaps)),
            "power_of_two_gaps": sum(is_power(q) for column in gaps for q in column),
            "power_of_two_dimensions": sum(all(map(is_power, column)) for column in gaps),
            "whole_step_gaps": sum(map(len, gaps)),
        },
        "cross_section": {
            "dimension_x": x,
            "dimension_y": y,
            "variance_x": float(str(np.float32(float(variances[x])))),
            "variance_y": float(str(np.float32(float(variances[y])))),
            "points": len({(vector.values[x], vector.values[y]) for vector in vectors}),
        },
        "adjacency": {
            "face": graph_of(counts, edges_of(vectors, "face")),
            "linf": graph_of(counts, edges_of(vectors, "linf")),
        },
    }


def radius_of(distances: list[float], counts: list[int]) -> float:
    return min(
        radius
        for radius in distances
        if 10 * sum(n for at, n in zip(distances, counts, strict=True) if at <= radius)
        >= 9 * sum(counts)
    )


def gaps_of(vectors: list[Vector]) -> list[list[Fraction]]:
    """Of each varying dimension the gaps between its values, as multiples of the smallest."""
    found = []
    for column in zip(*(vector.values for vector in vectors), strict=True):
        gaps = [b - a for a, b in pairwise(sorted(set(map(Fraction, column))))]
        if gaps:
            found.append([gap / min(gaps) for gap in gaps])
    return found


def is_power(quanta: Fraction) -> bool:
    return quanta.denominator == 1 and quanta.numerator.bit_count() == 1


def edges_of(vectors: list[Vector], graph: str) -> list[tuple[int, int]]:
    edges = []
    for (a, first), (b, second) in combinations(enumerate(vectors), 2):
        steps = [abs(x - y) for x, y in zip(first.places, second.places, strict=True)]
        if sum(steps) == 1 if graph == "face" else max(steps) <= 1:
            edges.append((a, b))
    return edges


def graph_of(counts: list[int], edges: list[tuple[int, int]]) -> dict[str, int]:
    component = list(range(len(counts)))
    for a, b in edges:
        component = [component[a] if each == component[b] else each for each in component]
    sizes = Counter(component)
    tokens = {
        each: sum(n for n, of in zip(counts, component, strict=True) if of == each)
        for each in sizes
    }
    largest = max(sizes, key=lambda each: (sizes[each], tokens[each]))
    degrees = [sum(at in edge for edge in edges) for at in range(len(counts))]
    return {
        "edges": len(edges),
        "isolated": degrees.count(0),
        "components": len(sizes),
        "largest_component": sizes[largest],
        "largest_component_tokens": tokens[largest],
        "degree_max": max(degrees),
    }


PLACES = [(0.5, 0), (2, 1), (1.5, 0), (1, 1)]
"""Two are neighbours, one apart, the origin to the right; the other two lie below them."""


def tables_of(vectors: list[Vector], ruler: str, radius: float) -> dict[str, list[str]]:
    """Every table without its header, line by line."""
    limit = float(np.float32(radius))
    parts = ["core" if each.distances[ruler] <= limit else "halo" for each in vectors]
    core = [each for each, part in zip(vectors, parts, strict=True) if part == "core"]
    sides = (("cluster", vectors), ("core", core))
    chosen = {each: shown(limit) if each == ruler else "" for each in RADII}
    zero = {each: zero_of(vectors, each, limit if each == ruler else 0) for each in RADII}
    x, y = (structure_of(vectors)["cross_section"][f"dimension_{each}"] for each in "xy")
    tables: dict[str, list[str]] = {"kinds": []}
    for each in RADII:
        tables[f"curve_{each}"] = [
            f"{shown(at)},{len(inside)},{sum(len(v.tokens) for v in inside)},"
            f"{chosen[each]},{zero[each]}"
            for at in sorted({vector.distances[each] for vector in vectors})
            for inside in [[v for v in vectors if v.distances[each] <= at]]
        ]
    shells: Counter[tuple[int, str]] = Counter()
    tokens: Counter[tuple[int, str]] = Counter()
    for vector, part in zip(vectors, parts, strict=True):
        shells[round(vector.distances["ulp"]), part] += 1
        tokens[round(vector.distances["ulp"]), part] += len(vector.tokens)
    tables["shells"] = [
        f"{shell},{part},{shells[shell, part]},{tokens[shell, part]}"
        for shell, part in sorted(shells)
    ]
    # Lexicographic order puts the origin, the first of the most populated, before its equals.
    ranked = sorted(
        range(len(vectors)), key=lambda at: (-len(vectors[at].tokens), vectors[at].tokens)
    )
    labels = ["the Big One", *(str(vectors[at].tokens[0]) for at in ranked[1:])]
    tables["populations"] = [
        f"{rank},{len(vectors[at].tokens)},{parts[at]},{vectors[at].tokens[0]},,"
        f"{shown(vectors[at].distances['ulp'])},{label if len(vectors[at].tokens) > 1 else ''}"
        for rank, (at, label) in enumerate(zip(ranked, labels, strict=True), start=1)
    ]
    tables["rulers"] = [
        f"{at},{parts[at]},{len(v.tokens)},{','.join(map(shown, v.distances.values()))},"
        f"{v.tokens[0]},,{chosen['ulp']},{chosen['steps']},{zero['ulp']},{zero['steps']}"
        for at, v in enumerate(vectors)
    ]
    tables["diversity"] = [
        f"{values},{of},{dimensions}"
        for of, those in sides
        for values, dimensions in sorted(
            Counter(len(set(c)) for c in zip(*(v.values for v in those), strict=True)).items()
        )
    ]
    tables["quantization"] = [line for side in sides for line in gap_lines(*side)]
    points: dict[tuple[float, float, str], list[Vector]] = {}
    for vector, part in zip(vectors, parts, strict=True):
        points.setdefault((vector.values[x], vector.values[y], part), []).append(vector)
    tables["cross_section"] = [
        f"{across!r},{up!r},{part},{sum(len(v.tokens) for v in there)},{len(there)},{x},{y},"
        f"{max(there, key=lambda v: len(v.tokens)).tokens[0]},"
        for (across, up, part), there in sorted(points.items())
    ]
    face, linf = (edges_of(vectors, graph) for graph in ("face", "linf"))
    assert face == linf == [(1, 3)]
    tables["adjacency"] = [
        "edge,2,1,1,1,1,1,1,,,,,,,,,,",
        *(
            f"vector,{left},{up},,,,,,{parts[at]},{len(v.tokens)},{at},{v.tokens[0]},,{shown(v.distances['ulp'])},"
            f"{sum(at in edge for edge in face)},{sum(at in edge for edge in linf)},"
            f"{sum(at in edge for edge in face) / 8:g},{'hub' if at == 1 else ''}"
            for at, (v, (left, up)) in enumerate(zip(vectors, PLACES, strict=True))
        ),
    ]
    return tables


def zero_of(vectors: list[Vector], ruler: str, radius: float) -> str:
    values = [radius, *(vector.distances[ruler] for vector in vectors)]
    return f"{min(value for value in values if value > 0) / 3:.3g}"


def gap_lines(of: str, vectors: list[Vector]) -> list[str]:
    quanta = [each for column in gaps_of(vectors) for each in column]
    exact = Counter(each.numerator.bit_length() - 1 for each in quanta if is_power(each))
    nearest = Counter(max(n for n in range(20) if 4**n <= 2 * each**2) for each in quanta)
    lines = [f"{n},{of},{exact[n]},{nearest[n]}" for n in sorted(nearest)]
    others = len(quanta) - exact.total()
    return [*lines, f"other,{of},{others},"] if others else lines


def shown(value: float) -> str:
    """A float32 in its fewest digits, a whole number without a point."""
    return str(int(value)) if value == int(value) else str(float(str(np.float32(value))))


# ---- what it writes --------------------------------------------------------------------------


def test_process_writes_the_golden_files_and_no_others(ready: Project) -> None:
    assert ready.stage_process("analyse", "tiny") == Done(0, "", "")
    assert ready.files() == {MEASURED, CORE, "structure.json", "plots"}
    expected = below(GOLDEN)
    assert expected.keys() == OUTPUTS
    assert below(ready.data) == expected


def check_outputs(found: dict[str, bytes], ruler: str, radius: float) -> None:
    """The outputs are what plain loops find."""
    vectors = cluster()
    limit = float(np.float32(radius))
    core = [vector for vector in vectors if vector.distances[ruler] <= limit]
    expected = {"cluster": structure_of(vectors), "core": structure_of(core)}
    text = json.dumps(expected, indent=2, sort_keys=True) + "\n"
    assert json.loads(found["structure.json"]) == expected
    assert found["structure.json"].decode() == text
    tables = tables_of(vectors, ruler, radius)
    assert tables.keys() == PICTURES
    for name, lines in tables.items():
        header, *rows = found[f"plots/{name}.csv"].decode().splitlines()
        assert rows == lines, name
        assert len(set(header.split(","))) == header.count(",") + 1
        assert all(row.count(",") == header.count(",") for row in rows)


def test_golden_files_are_what_plain_loops_find() -> None:
    check_outputs(below(GOLDEN), "ulp", 2.0)


@pytest.mark.parametrize("radius", [*RADII.items(), ("ulp", "1"), ("ulp", "2.99"), ("l2", "0.01")])
def test_outputs_of_another_core_are_what_plain_loops_find(
    ready: Project, radius: tuple[str, str]
) -> None:
    extract(ready, *radius)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    check_outputs(below(ready.data), radius[0], float(radius[1]))


def test_golden_files_show_that_core_and_cluster_differ() -> None:
    found = json.loads(below(GOLDEN)["structure.json"])
    assert found["cluster"] != found["core"]
    assert found["cluster"]["shells"]["gap_at"] == 4
    assert found["core"]["shells"]["gap_at"] == 3
    assert found["cluster"]["diversity"]["varying_dimensions"] == 4
    assert found["core"]["diversity"]["varying_dimensions"] == 3
    assert found["cluster"]["adjacency"]["face"]["edges"] == 1


def test_of_a_core_of_one_vector_nothing_varies(ready: Project) -> None:
    extract(ready, "ulp", "0")
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    assert metrics(ready)["core"] == {
        "shells": {"gap_at": 1, "whole_percent": 100, "r90_vectors": 0, "r90_tokens": 0},
        "diversity": {
            "constant_dimensions": 4, "varying_dimensions": 0, "distinct_mean": 1,
            "distinct_median": 1, "distinct_max": 1, "distinct_max_dimension": 0,
        },
        "quantization": {
            "gaps": 0, "power_of_two_gaps": 0, "power_of_two_dimensions": 0, "whole_step_gaps": 0,
        },
        "cross_section": {
            "dimension_x": 0, "dimension_y": 1, "variance_x": 0, "variance_y": 0, "points": 1,
        },
        "adjacency": {
            graph: {
                "edges": 0, "isolated": 1, "components": 1, "largest_component": 1,
                "largest_component_tokens": 2, "degree_max": 0,
            }
            for graph in ("face", "linf")
        },
    }  # fmt: skip
    assert metrics(ready)["cluster"] == json.loads(below(GOLDEN)["structure.json"])["cluster"]


def test_core_of_all_vectors_is_the_cluster(ready: Project) -> None:
    extract(ready, "ulp", "3")
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    assert metrics(ready)["core"] == metrics(ready)["cluster"]
    assert {row["part"] for row in table(ready, "rulers")} == {"core"}


def test_second_run_writes_the_same_bytes(done: Project) -> None:
    before = below(done.data)
    assert done.stage_here("analyse", "tiny") == Done(0, "", "")
    assert below(done.data) == before


@pytest.mark.parametrize("seed", ["0", "1", "77"])
def test_process_with_other_hashes_writes_the_same_bytes(
    ready: Project, monkeypatch: pytest.MonkeyPatch, seed: str
) -> None:
    write_texts(ready)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    before = below(ready.data)
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    assert ready.stage_process("analyse", "tiny") == Done(0, "", "")
    assert below(ready.data) == before


def test_matrix_and_vocabulary_are_never_opened(tmp_path: Path) -> None:
    made = project.made_project(tmp_path, "cluster", "measure", "extract")
    (made.data / "W.safetensors").unlink()
    (made.data / "cluster_tokens.safetensors").write_bytes(b"spoiled")
    (made.data / "vocab.json").write_bytes(b"spoiled")
    assert made.stage_here("analyse", "tiny") == Done(0, "", "")
    assert below(made.data) == below(GOLDEN)


def test_params_of_other_stages_do_not_matter(done: Project) -> None:
    before = below(done.data)
    done.write_params(
        radius="17", distance="steps", adjacency_threshold="0.5", discover="[]", theme="dark"
    )
    assert done.stage_here("analyse", "tiny") == Done(0, "", "")
    assert below(done.data) == before


def test_files_are_readable_by_all_as_the_umask_allows(ready: Project) -> None:
    before = os.umask(0o022)
    try:
        assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    finally:
        os.umask(before)
    assert {(ready.data / name).stat().st_mode & 0o777 for name in OUTPUTS} == {0o644}


def test_does_not_import_torch(ready: Project) -> None:
    modules = project.modules_after("analyse", ready.folder)
    assert "core_tokens" in modules
    assert "torch" not in modules


def test_other_files_in_the_folder_of_the_plots_are_left_alone(done: Project) -> None:
    (done.data / "plots" / "own.csv").write_text("mine\n")
    assert done.stage_here("analyse", "tiny") == Done(0, "", "")
    assert (done.data / "plots" / "own.csv").read_text() == "mine\n"


def test_tensors_that_analyse_does_not_know_are_no_obstacle(ready: Project) -> None:
    for name in (MEASURED, CORE):
        write_all(ready, {**read_all(ready, name), "more": np.zeros(3, np.int8)}, name)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    assert below(ready.data) == below(GOLDEN)


def test_tokens_in_another_order_have_the_same_structure(ready: Project) -> None:
    arrays = read_all(ready)
    for name in ("token_ids", "vector_of_token"):
        arrays[name] = arrays[name][::-1]
    write_all(ready, arrays)
    extract(ready, "ulp", "2.0")
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    found, expected = below(ready.data), below(GOLDEN)
    assert found["structure.json"] == expected["structure.json"]
    assert {row["token"] for row in table(ready, "rulers")} == {"2", "5", "6", "9"}  # now the first
    assert found["plots/curve_ulp.csv"] == expected["plots/curve_ulp.csv"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_measurements_of_another_lattice_are_analysed_on_it(tmp_path: Path, dtype: Any) -> None:
    rows = project.tiny_matrix().astype(dtype)
    rows[2, 0] = np.nextafter(rows[2, 0], dtype(1))  # below what bfloat16 can tell apart
    made = project.make_project(tmp_path, rows)
    made.write_cluster(project.CLUSTER_IDS)
    native = project.PARAMS.replace("device: cpu", "device: cpu\n  precision: native")
    made.write_params(native, radius="1e9")
    for stage in ("measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    found = metrics(made)["cluster"]
    assert found == metrics(made)["core"]
    assert found["diversity"]["distinct_max"] == 3
    # One step of its own apart in one dimension, once -0 is 0.
    assert found["adjacency"]["face"]["edges"] == 1
    assert found["adjacency"]["face"]["largest_component"] == 2


def test_infinite_distance_is_the_last_shell(ready: Project) -> None:
    arrays = read_all(ready)
    arrays["distance_ulp"] = np.array([np.inf, 0, 2, 1], np.float32)
    write_all(ready, arrays)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    assert metrics(ready)["cluster"]["shells"]["r90_vectors"] == 3.4028235e38
    assert table(ready, "shells")[-1] == {
        "ulp": "3.4028235e+38", "part": "halo", "vectors": "1", "tokens": "1",
    }  # fmt: skip


# ---- no cluster ------------------------------------------------------------------------------


def numbers(found: Any) -> list[tuple[str, Any]]:
    """Key and value of every leaf."""
    return [
        leaf
        for key, value in found.items()
        for leaf in (numbers(value) if isinstance(value, dict) else [(key, value)])
    ]


@pytest.mark.parametrize("ruler", RADII)
def test_matrix_without_a_cluster_passes_all_stages_with_zeros(tmp_path: Path, ruler: str) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16))
    made.write_params(distance=ruler, radius=RADII[ruler])
    for stage in ("cluster", "measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    found, full = metrics(made), json.loads(below(GOLDEN)["structure.json"])
    assert [key for key, _ in numbers(found)] == [key for key, _ in numbers(full)]
    dimensions = {"dimension_x", "dimension_y", "distinct_max_dimension"}
    assert all(value == (-1 if key in dimensions else 0) for key, value in numbers(found))
    tables, headers = below(made.data), below(GOLDEN)
    assert tables.keys() == OUTPUTS
    for name in OUTPUTS - {"structure.json"}:
        assert tables[name] == headers[name].splitlines(keepends=True)[0]


# ---- the tokens' text --------------------------------------------------------------------------

TEXTS = {
    1: ("ordinary", "the"),
    2: ("ordinary", "中"),
    3: ("unreachable", "я"),
    5: ("ordinary", "日本の"),
    6: ("byte", r"\xE4"),
    9: ("ordinary", '"a, b"'),
}


def write_texts(made: Project, texts: dict[int, tuple[str, str]] = TEXTS) -> None:
    """Write tokens.csv as measure does."""
    with (made.data / "tokens.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("token", "class", "text"))
        writer.writerows((token, *known) for token, known in texts.items())


def test_tokens_are_counted_by_class_and_script_where_their_text_is_known(ready: Project) -> None:
    write_texts(ready)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    found = metrics(ready)
    assert found["cluster"].pop("tokens") == {
        "classes": {"byte": 1, "ordinary": 4, "unreachable": 1},
        "scripts": {"Cyrillic": 1, "Han": 1, "Latin": 2, "Mixed": 1},
    }
    assert found["core"].pop("tokens") == {  # all but 6
        "classes": {"ordinary": 4, "unreachable": 1},
        "scripts": {"Cyrillic": 1, "Han": 1, "Latin": 2, "Mixed": 1},
    }
    assert found == json.loads(below(GOLDEN)["structure.json"])
    assert (ready.data / "plots" / "kinds.csv").read_text() == (
        "class,script,part,tokens\n"
        "ordinary,Han,core,1\nordinary,Latin,core,2\nordinary,Mixed,core,1\n"
        "unreachable,Cyrillic,core,1\nbyte,none,halo,1\n"
    )


def test_vectors_carry_the_text_of_their_first_token(ready: Project) -> None:
    write_texts(ready)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    first = {"6": r"\xE4", "1": "the", "9": '"a, b"', "3": "я"}
    for name in ("populations", "adjacency", "rulers"):
        rows = [row for row in table(ready, name) if row["token"]]
        assert {row["token"]: row["text"] for row in rows} == first
    points = {row["token"]: row["text"] for row in table(ready, "cross_section")}
    assert points == {token: text for token, text in first.items() if token != "3"}  # is with 1
    labels = {row["token"]: row["label"] for row in table(ready, "populations")}
    assert labels == {"1": "the Big One", "3": "я", "6": "", "9": ""}


def test_text_changes_nothing_else(ready: Project) -> None:
    write_texts(ready)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    found, expected = below(ready.data), below(GOLDEN)
    for name in ("curve_ulp", "curve_steps", "curve_l2", "shells", "diversity", "quantization"):
        assert found[f"plots/{name}.csv"] == expected[f"plots/{name}.csv"]


@pytest.mark.parametrize("content", ["token\n", "token\n1\n2\n"])
def test_table_without_texts_says_that_nothing_is_known(ready: Project, content: str) -> None:
    (ready.data / "tokens.csv").write_text(content)
    assert ready.stage_here("analyse", "tiny") == Done(0, "", "")
    assert below(ready.data) == below(GOLDEN)


def test_empty_cluster_with_known_texts_has_no_kinds(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16))
    vocabulary = [{"class": "ordinary", "text": "a"}] * 4
    (made.data / "vocab.json").write_text(json.dumps(vocabulary))
    for stage in ("cluster", "measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    assert (made.data / "tokens.csv").read_text() == "token,class,text\n"
    for part in metrics(made).values():
        assert all(counts == {} for counts in part.get("tokens", {}).values())
    assert (made.data / "plots" / "kinds.csv").read_text() == "class,script,part,tokens\n"


def test_texts_that_lack_a_token_are_refused(done: Project) -> None:
    write_texts(done, {token: known for token, known in TEXTS.items() if token != 9})
    project.check_stage_refuses(done, "analyse", "data/tiny/tokens.csv", "no token 9")


@pytest.mark.parametrize(
    "content",
    [
        "token,text\n1,a\n",
        "token,class,text\n1,other,a\n",
        "token,class,text\nx,ordinary,a\n",
        "token,class,text\n1,ordinary\n",
        "token,class,text\n1,ordinary,\u200b\n",
        'token,class,text\n1,ordinary,"a\n',
    ],
)
def test_spoiled_texts_are_refused(done: Project, content: str) -> None:
    (done.data / "tokens.csv").write_text(content, encoding="utf-8")
    project.check_stage_refuses(done, "analyse", "data/tiny/tokens.csv")


# ---- what it refuses -------------------------------------------------------------------------

files = pytest.mark.parametrize("name", [MEASURED, CORE])


@files
@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_spoiled_file_is_refused(done: Project, name: str, spoil: Callable[[bytes], bytes]) -> None:
    project.spoil_file(done.data / name, spoil)
    project.check_stage_refuses(done, "analyse", f"data/tiny/{name}", "safetensors file")


@files
@pytest.mark.parametrize("how", ["truncated data", "header length beyond the file"])
def test_spoiled_file_is_refused_by_the_process(done: Project, name: str, how: str) -> None:
    project.spoil_file(done.data / name, project.SPOILED[how])
    project.check_stage_refuses(done, "analyse", f"data/tiny/{name}", process=True)


@files
@pytest.mark.parametrize("process", [False, True])
def test_missing_file_is_refused(done: Project, name: str, process: bool) -> None:
    (done.data / name).unlink()
    project.check_stage_refuses(
        done, "analyse", f"data/tiny/{name}", "no such file", process=process
    )


@files
def test_folder_in_place_of_a_file_is_refused(done: Project, name: str) -> None:
    project.replace_by_folder(done.data / name)
    project.check_stage_refuses(done, "analyse", f"data/tiny/{name}", "folder")


@pytest.mark.parametrize("name", tensors.MEASUREMENTS)
def test_absent_tensor_is_refused_and_those_there_are_listed(done: Project, name: str) -> None:
    arrays = read_all(done)
    arrays[f"{name}_"] = arrays.pop(name)
    write_all(done, arrays)
    project.check_stage_refuses(done, "analyse", f"{MEASURED}: {name}:", f"{name}_ ")


@pytest.mark.parametrize("name", tensors.MEASUREMENTS)
def test_tensor_of_another_kind_is_refused(done: Project, name: str) -> None:
    good = read_all(done)
    for other in (good[name].astype(np.float64), good[name][None]):
        write_all(done, {**good, name: other})
        project.check_stage_refuses(done, "analyse", f"{MEASURED}: {name}:")


@pytest.mark.parametrize("name", tensors.MEASUREMENTS)
def test_sizes_that_contradict_each_other_are_refused(done: Project, name: str) -> None:
    arrays = read_all(done)
    arrays[name] = np.concatenate([arrays[name], arrays[name][:1]])
    write_all(done, arrays)
    project.check_stage_refuses(done, "analyse", MEASURED, "[")


CONTRADICTIONS: dict[str, tuple[str, list[float]]] = {
    "NaN distance": ("distance_ulp", [np.nan, 0, 2, 1]),
    "negative distance": ("distance_ulp", [3, 0, -2, 1]),
    "negative steps": ("distance_steps", [3, 0, -2, 1]),
    "NaN L2": ("distance_l2", [3, 0, 2, np.nan]),
    "vector too large": ("vector_of_token", [1, 1, 3, 3, 0, 4]),
    "vector negative": ("vector_of_token", [1, 1, 3, 3, 0, -2]),
    "vector of no token": ("vector_of_token", [1, 1, 3, 3, 0, 0]),
    "other populations": ("populations", [1, 2, 2, 2]),
    "a token twice": ("token_ids", [1, 1, 3, 5, 6, 9]),
    "a token below 0": ("token_ids", [-1, 2, 3, 5, 6, 9]),
    "origin too large": ("origin", [4]),
    "origin negative": ("origin", [-1]),
    "ulp 0": ("ulp", [0]),
    "ulp NaN": ("ulp", [np.nan]),
    "ulp infinite": ("ulp", [np.inf]),
}


@pytest.mark.parametrize(("name", "values"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_measurements_that_contradict_each_other_are_refused(
    done: Project, name: str, values: list[float]
) -> None:
    arrays = read_all(done)
    arrays[name] = np.array(values, arrays[name].dtype)
    write_all(done, arrays)
    project.check_stage_refuses(done, "analyse", f"data/tiny/{MEASURED}: {name}:")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32])
def test_vector_that_is_not_finite_is_refused(done: Project, bad: float, dtype: Any) -> None:
    arrays = read_all(done)
    arrays["vectors"] = arrays["vectors"].astype(dtype)
    arrays["vectors"][2, 1] = bad
    write_all(done, arrays)
    project.check_stage_refuses(
        done, "analyse", f"data/tiny/{MEASURED}: vectors:", "NaN or infinity", "finite"
    )


def test_vectors_without_dimensions_are_refused(done: Project) -> None:
    arrays = read_all(done)
    write_all(done, {**arrays, "vectors": arrays["vectors"][:, :0]})
    project.check_stage_refuses(done, "analyse", f"data/tiny/{MEASURED}: vectors:")


def test_nan_in_a_vector_is_refused_by_the_process(done: Project) -> None:
    arrays = read_all(done)
    arrays["vectors"][0, 0] = np.nan
    write_all(done, arrays)
    project.check_stage_refuses(done, "analyse", f"data/tiny/{MEASURED}", "NaN", process=True)


OTHER_CORES: dict[str, dict[str, NDArray[Any]]] = {
    "a token less": {"cluster_token_ids": np.array([1, 2, 3, 5])},
    "a token more": {"cluster_token_ids": np.array([1, 2, 3, 5, 6, 9])},
    "another token": {"cluster_token_ids": np.array([1, 2, 3, 5, 7])},
    "another order": {"cluster_token_ids": np.array([2, 1, 3, 5, 9])},
    "a token twice": {"cluster_token_ids": np.array([1, 2, 3, 5, 9, 9])},
    "no tokens": {"cluster_token_ids": np.empty(0, np.int64)},
    "a smaller radius": {"max_core_radius_ulp": np.array([1.5], np.float32)},
    "a larger radius": {"max_core_radius_ulp": np.array([3], np.float32)},
}


@pytest.mark.parametrize("other", OTHER_CORES.values(), ids=OTHER_CORES)
def test_core_of_other_measurements_is_refused(
    done: Project, other: dict[str, NDArray[Any]]
) -> None:
    write_all(done, {**read_all(done, CORE), **other}, CORE)
    project.check_stage_refuses(
        done, "analyse", f"data/tiny/{CORE}: found other tokens", "(ulp)", MEASURED, "dvc repro"
    )


def test_core_by_another_ruler_than_it_says_is_refused(done: Project) -> None:
    arrays = read_all(done, CORE)
    arrays["max_core_radius_steps"] = arrays.pop("max_core_radius_ulp")
    write_all(done, arrays, CORE)
    project.check_stage_refuses(done, "analyse", f"data/tiny/{CORE}: found other tokens", "(steps)")


def test_measurements_made_after_the_core_are_refused(done: Project) -> None:
    arrays = read_all(done)
    arrays["distance_ulp"] = arrays["distance_ulp"] * 2
    write_all(done, arrays)
    project.check_stage_refuses(
        done, "analyse", f"data/tiny/{CORE}", "within 2 (ulp)", process=True
    )


def test_core_without_a_radius_is_refused(done: Project) -> None:
    arrays = read_all(done, CORE)
    del arrays["max_core_radius_ulp"]
    write_all(done, arrays, CORE)
    project.check_stage_refuses(done, "analyse", f"data/tiny/{CORE}: max_core_radius_ulp:")


@pytest.mark.parametrize("radius", [np.nan, -1])
def test_core_of_no_tokens_with_a_radius_that_is_none_is_refused(
    done: Project, radius: float
) -> None:
    arrays = {
        **read_all(done, CORE),
        "cluster_token_ids": np.empty(0, np.int64),
        "max_core_radius_ulp": np.array([radius], np.float32),
    }
    write_all(done, arrays, CORE)
    project.check_stage_refuses(done, "analyse", f"data/tiny/{CORE}: max_core_radius_ulp:")


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_output_that_cannot_be_replaced_leaves_the_others_as_they_were(
    done: Project, name: str
) -> None:
    (done.data / name).unlink()
    (done.data / name).mkdir()
    extract(done, "ulp", "1")
    before = done.snapshot()
    ended = done.stage_here("analyse", "tiny")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert f"data/tiny/{name}" in ended.err
    assert ended.err.count("\n") == 1
    assert done.snapshot() == before


def test_file_in_place_of_the_folder_of_the_plots_is_refused(ready: Project) -> None:
    (ready.data / "plots").write_text("mine\n")
    before = ready.snapshot()
    ended = ready.stage_here("analyse", "tiny")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: data/tiny/plots")
    assert ended.err.count("\n") == 1
    assert ready.snapshot() == before


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    done: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(done)
    project.check_stage_refuses(done, "analyse", "params.yaml", mention)


@pytest.mark.parametrize("name", ["radius negative", "an unknown theme"])
def test_bad_params_are_refused_by_the_process(done: Project, name: str) -> None:
    spoil, mention = project.BAD_PARAMS[name]
    spoil(done)
    project.check_stage_refuses(done, "analyse", "params.yaml", mention, process=True)


def test_folder_in_place_of_the_params_is_refused(done: Project) -> None:
    project.replace_by_folder(done.folder / "params.yaml")
    project.check_stage_refuses(done, "analyse", "params.yaml")


@pytest.mark.parametrize(
    ("arguments", "mention"), project.WRONG_ARGUMENTS.values(), ids=project.WRONG_ARGUMENTS
)
def test_wrong_arguments_are_refused(
    done: Project, arguments: tuple[str, ...], mention: str
) -> None:
    project.check_stage_refuses(done, "analyse", mention, arguments=arguments)


@pytest.mark.parametrize("name", ["a model that is not listed", "a line break"])
def test_wrong_arguments_are_refused_by_the_process(done: Project, name: str) -> None:
    arguments, mention = project.WRONG_ARGUMENTS[name]
    project.check_stage_refuses(done, "analyse", mention, arguments=arguments, process=True)
