import csv
import io
import math
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from core_tokens import plot_files, structure_tables
from core_tokens.core import core_within
from core_tokens.measurements import Measurements, measure
from core_tokens.structure.layout import Layout, layout
from core_tokens.structure.tokens import Kinds, kinds
from core_tokens.structure_tables import (
    Vectors,
    adjacency_table,
    cross_section_table,
    curve_table,
    diversity_table,
    kinds_table,
    plot_tables,
    populations_table,
    quantization_table,
    rulers_table,
    shells_table,
)
from core_tokens.tables import number
from strategies import BFLOAT16, cases
from structures import (
    EMPTY,
    EXTREME,
    RULERS,
    STEP,
    TEXTS,
    Cluster,
    Example,
    example_of,
    far,
    five,
    one_dimension,
    tensors_of,
)

# ---- the vectors as pictures need them ---------------------------------------------------------


def test_a_vector_goes_by_its_first_token() -> None:
    found = example_of(five(), texts=TEXTS).vectors
    assert found.first_tokens.tolist() == [21, 20, 40, 7, 5]
    assert found.texts == [' a,"b"', "the", "", r"\xE4", "中"]
    assert found.parts == ["core", "core", "core", "halo", "halo"]
    assert found.origin == 1
    assert {ruler: found.distances[ruler].tolist() for ruler in RULERS} == {
        ruler: five()[f"distance_{ruler}"].tolist() for ruler in RULERS
    }
    assert example_of(five()).vectors.texts == [""] * 5


@pytest.mark.parametrize(
    ("distances", "ruler", "radius", "zero"),
    [
        ([0, 1, 4], "steps", 3, "0.333"),
        ([0, 3, 4], "ulp", 1, "0.333"),  # the radius is on the axis too
        ([0, 3, 4], "ulp", 0, "1"),
        ([0, 3, 4], "l2", 1, "1"),  # but not on that of another ruler
        ([0, 0.001], "steps", 0, "0.000333"),
        ([0, 1e-30], "steps", 0, "3.33e-31"),
        ([0], "steps", 3, "1"),
        ([], "steps", 3, "1"),
        ([], "ulp", 6, "2"),
    ],
)
def test_zero_stands_at_a_third_of_what_is_smallest_on_a_log_axis(
    distances: list[float], ruler: str, radius: float, zero: str
) -> None:
    count = len(distances)
    found = Vectors(
        np.ones(count, np.int64), {"ulp": np.array(distances, np.float32)},
        np.ones(count, np.bool_), np.arange(count), [""] * count, -1, ruler, np.float32(radius),
    )  # fmt: skip
    assert found.zero("ulp") == zero


@pytest.mark.parametrize(("ruler", "radius"), [("steps", 3.0), ("ulp", 0.0)])
def test_zero_is_a_number_where_all_else_is_infinitely_far(ruler: str, radius: float) -> None:
    found = example_of(tensors_of(far()), ruler, radius).vectors
    assert found.distances["ulp"].tolist() == [0, math.inf]
    assert 0 < float(found.zero("ulp")) < math.inf


# ---- the tables of the example -----------------------------------------------------------------


def test_the_curves() -> None:
    vectors = example_of(five()).vectors
    header = "radius,vectors,tokens,chosen,zero\n"
    assert curve_table(vectors, "ulp") == header + (
        "0,1,3,,0.333\n1,2,5,,0.333\n1.25,3,8,,0.333\n2.5,4,9,,0.333\n4,5,10,,0.333\n"
    )
    assert curve_table(vectors, "steps") == header + (
        "0,1,3,3,0.333\n1,2,5,3,0.333\n2,3,6,3,0.333\n4,4,9,3,0.333\n5,5,10,3,0.333\n"
    )
    assert curve_table(vectors, "l2") == header + (
        "0,1,3,,0.0026\n0.0078125,2,5,,0.0026\n0.01,3,8,,0.0026\n0.015625,4,9,,0.0026\n"
        "0.04,5,10,,0.0026\n"
    )


def test_vectors_that_are_equally_far_are_one_row_of_a_curve() -> None:
    measured = {**five(), "distance_ulp": np.array([2, 0, 2, 0.5, 2], np.float32)}
    assert curve_table(example_of(measured, "ulp", 0.1).vectors, "ulp") == (
        "radius,vectors,tokens,chosen,zero\n"
        "0,1,3,0.1,0.0333\n0.5,2,6,0.1,0.0333\n2,5,10,0.1,0.0333\n"
    )


def test_a_curve_ends_at_infinity_without_a_warning() -> None:
    measured = {**five(), "distance_ulp": np.array([math.inf, 0, 7, math.inf, 7], np.float32)}
    assert curve_table(example_of(measured).vectors, "ulp") == (
        "radius,vectors,tokens,chosen,zero\n0,1,3,,2.33\n7,3,5,,2.33\n3.4028235e+38,5,10,,2.33\n"
    )


def test_the_shells_of_core_and_halo() -> None:
    assert shells_table(example_of(five()).found) == (
        "ulp,part,vectors,tokens\n"
        "0,core,1,3\n"
        "1,core,1,2\n"
        "1,halo,1,3\n"  # 1.25
        "2,core,1,1\n"  # 2.5, half to even
        "4,halo,1,1\n"
    )


def test_shells_far_out_are_told_apart_and_infinity_is_the_last() -> None:
    distances = np.array([math.inf, 16777216, 16777218, 0, 1e30], np.float32)
    measured = {**five(), "distance_ulp": distances}
    assert shells_table(example_of(measured, "ulp", 16777216).found) == (
        "ulp,part,vectors,tokens\n"
        "0,core,1,3\n16777216,core,1,3\n16777218,halo,1,1\n1e+30,halo,1,1\n3.4028235e+38,halo,1,2\n"
    )


def test_the_populations_the_big_one_first() -> None:
    assert populations_table(example_of(five(), texts=TEXTS).vectors) == (
        "rank,population,part,token,text,distance_ulp,label\n"
        "1,3,core,20,the,0,the Big One\n"
        "2,3,halo,7,\\xE4,1.25,\\xE4\n"
        '3,2,core,21," a,""b""",1," a,""b"""\n'
        "4,1,halo,5,中,4,\n"  # of equals that with the smallest token
        "5,1,core,40,,2.5,\n"
    )


def test_populations_whose_text_is_unknown_are_labelled_by_their_token() -> None:
    assert populations_table(example_of(five()).vectors) == (
        "rank,population,part,token,text,distance_ulp,label\n"
        "1,3,core,20,,0,the Big One\n2,3,halo,7,,1.25,7\n3,2,core,21,,1,21\n"
        "4,1,halo,5,,4,\n5,1,core,40,,2.5,\n"
    )


def test_only_the_largest_groups_are_labelled_and_the_big_one_precedes_its_equals() -> None:
    rows = 1 + STEP * np.arange(20)[:, None]
    measured = measure(rows[np.repeat(np.arange(20), 2)].astype(BFLOAT16), np.arange(40))
    vectors = example_of({**tensors_of(measured), "origin": np.array([7])}).vectors
    written = list(csv.DictReader(populations_table(vectors).splitlines()))
    assert [row["token"] for row in written[:3]] == ["14", "0", "2"]
    assert [row["label"] for row in written[:3]] == ["the Big One", "0", "2"]
    assert [bool(row["label"]) for row in written] == [True] * 15 + [False] * 5


def test_the_rulers() -> None:
    assert rulers_table(example_of(five(), texts=TEXTS).vectors) == (
        "vector,part,population,distance_ulp,distance_steps,distance_l2,token,text,"
        "chosen_ulp,chosen_steps,zero_ulp,zero_steps\n"
        '0,core,2,1,1,0.0078125,21," a,""b""",,3,0.333,0.333\n'
        "1,core,3,0,0,0,20,the,,3,0.333,0.333\n"
        "2,core,1,2.5,2,0.015625,40,,,3,0.333,0.333\n"
        "3,halo,3,1.25,4,0.01,7,\\xE4,,3,0.333,0.333\n"
        "4,halo,1,4,5,0.04,5,中,,3,0.333,0.333\n"
    )


@pytest.mark.parametrize(
    ("ruler", "radius", "end"),
    [("ulp", 0.75, "0.75,,0.25,0.333"), ("l2", 0.01, ",,0.333,0.333")],
)
def test_the_radius_stands_beside_its_own_ruler_alone(ruler: str, radius: float, end: str) -> None:
    lines = rulers_table(example_of(five(), ruler, radius).vectors).splitlines()
    assert len(lines) == 6
    assert all(line.endswith(f",{end}") for line in lines[1:])


def test_the_diversity_of_cluster_and_core() -> None:
    assert diversity_table(example_of(five()).found) == (
        "distinct,of,dimensions\n"
        "1,cluster,1\n3,cluster,2\n"
        "1,core,2\n3,core,1\n"
    )  # fmt: skip


def test_the_gaps_of_cluster_and_core() -> None:
    # Gaps of 1 and 3, of 1 and 2; in the core of 1 and 2 alone. 3 is nearest to 4.
    assert quantization_table(example_of(five()).found) == (
        "exponent,of,gaps,nearest\n"
        "0,cluster,2,2\n1,cluster,1,1\n2,cluster,0,1\nother,cluster,1,\n"
        "0,core,1,1\n1,core,1,1\n"
    )


def test_the_cross_section() -> None:
    case = example_of(five(), texts=TEXTS)
    assert cross_section_table(case.found, case.measured["vectors"], case.vectors) == (
        "x,y,part,tokens,vectors,dimension_x,dimension_y,token,text\n"
        '1.0,1.0,core,2,1,0,1,21," a,""b"""\n'
        "1.0,1.0078125,core,3,1,0,1,20,the\n"
        "1.0,1.0234375,core,1,1,0,1,40,\n"
        "1.0078125,1.0078125,halo,3,1,0,1,7,\\xE4\n"
        "1.03125,1.0078125,halo,1,1,0,1,5,中\n"
    )


def test_vectors_that_share_a_point_are_counted_there_core_and_halo_apart() -> None:
    rows = [[-8, 0, 0.5], [-8, 0, 1], [-8, 0, 1.5], [8, -0.0, 0.5], [8, 4, 1]]
    measured = {
        **five(),
        "vectors": np.array(rows).astype(BFLOAT16),
        "distance_steps": np.array([0, 3, 9, 9, 9]),
    }
    case = example_of(measured)
    assert cross_section_table(case.found, measured["vectors"], case.vectors) == (
        "x,y,part,tokens,vectors,dimension_x,dimension_y,token,text\n"
        "-8.0,0.0,core,5,2,0,1,20,\n"  # the token of the vector with more of them
        "-8.0,0.0,halo,1,1,0,1,40,\n"
        "8.0,0.0,halo,3,1,0,1,7,\n"
        "8.0,4.0,halo,1,1,0,1,5,\n"
    )


def test_of_vectors_with_one_dimension_the_cross_section_is_a_line() -> None:
    case = example_of(tensors_of(one_dimension()))
    assert cross_section_table(case.found, case.measured["vectors"], case.vectors) == (
        "x,y,part,tokens,vectors,dimension_x,dimension_y,token,text\n"
        "1.0,1.0,core,2,1,0,0,0,\n1.0078125,1.0078125,core,1,1,0,0,2,\n"
    )


ADJACENCY = (
    "kind,x,y,x2,y2,length,tree,edges,part,population,vector,token,text,distance_ulp,"
    "face_neighbours,linf_neighbours,packing,label\n"
)
PLACES = np.array([[1 / 3, 1], [1, 2], [0.5, -0.0001], [2.0004, 3], [12, 0]])
VECTORS = (
    'vector,0.333,1,,,,,,core,2,0,21," a,""b""",1,1,2,0.166666667,\n'
    "vector,1,2,,,,,,core,3,1,20,the,0,2,2,0.333333333,hub\n"
    "vector,0.5,0,,,,,,core,1,2,40,,2.5,0,0,0,\n"
    "vector,2,3,,,,,,halo,3,3,7,\\xE4,1.25,1,2,0.166666667,\n"
    "vector,12,0,,,,,,halo,1,4,5,中,4,0,0,0,\n"
)


def test_the_adjacency_edges_first_and_of_those_the_longest() -> None:
    case = example_of(five(), texts=TEXTS)
    linf = case.found.cluster.adjacency.linf
    assert linf.edges.tolist() == [[0, 1], [0, 3], [1, 3]]
    assert linf.lengths.tolist() == [1, 2, 1]
    laid_out = Layout(PLACES, np.array([True, False, True]))
    assert adjacency_table(case.found, laid_out, case.vectors) == (
        ADJACENCY + "edge,0.333,1,2,3,2,0,3,,,,,,,,,,\n"
        "edge,0.333,1,1,2,1,1,3,,,,,,,,,,\n"
        "edge,1,2,2,3,1,1,3,,,,,,,,,,\n" + VECTORS
    )


def test_where_there_are_too_many_edges_those_of_the_trees_are_drawn_and_the_shortest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = example_of(five(), texts=TEXTS)
    long_tree = Layout(PLACES, np.array([False, True, False]))
    monkeypatch.setattr(structure_tables, "MOST_EDGES", 2)
    assert adjacency_table(case.found, long_tree, case.vectors) == (
        ADJACENCY + "edge,0.333,1,2,3,2,1,3,,,,,,,,,,\nedge,0.333,1,1,2,1,0,3,,,,,,,,,,\n" + VECTORS
    )
    monkeypatch.setattr(structure_tables, "MOST_EDGES", 0)
    tree_alone = ADJACENCY + "edge,0.333,1,2,3,2,1,3,,,,,,,,,,\n" + VECTORS
    assert adjacency_table(case.found, long_tree, case.vectors) == tree_alone


def test_the_edges_of_a_tree_are_all_drawn_where_there_are_many_more() -> None:
    rows = 1 + STEP * np.array([[x, y, z] for x in range(7) for y in range(7) for z in range(7)])
    measured = measure(rows.astype(BFLOAT16), np.arange(len(rows)))
    case = example_of(tensors_of(measured))
    linf = case.found.cluster.adjacency.linf
    assert len(linf.edges) > structure_tables.MOST_EDGES
    laid_out = layout(linf)
    assert laid_out.tree.sum() == len(rows) - 1
    table = list(csv.DictReader(adjacency_table(case.found, laid_out, case.vectors).splitlines()))
    edges = [row for row in table if row["kind"] == "edge"]
    assert len(edges) == structure_tables.MOST_EDGES
    ends = {(row["x"], row["y"], row["x2"], row["y2"]) for row in edges}
    places = [(row["x"], row["y"]) for row in table if row["kind"] == "vector"]
    for a, b in linf.edges[laid_out.tree].tolist():
        assert (*places[a], *places[b]) in ends
    lengths = [int(row["length"]) for row in edges]
    assert lengths == sorted(lengths, reverse=True)


def test_the_kinds_of_core_and_halo() -> None:
    parts = {
        "cluster": kinds(TEXTS.values()),
        "core": kinds([TEXTS[token] for token in (20, 21, 40, 7, 30)]),
        "halo": kinds([TEXTS[5]]),
    }
    assert kinds_table(parts) == (
        "class,script,part,tokens\n"
        "byte,none,core,1\nordinary,Latin,core,3\npadding,none,core,1\n"
        "ordinary,Han,halo,1\n"
    )
    assert kinds_table(None) == "class,script,part,tokens\n"
    assert kinds_table(dict.fromkeys(parts, Kinds({}))) == "class,script,part,tokens\n"


# ---- all tables together -----------------------------------------------------------------------

COLUMNS = {
    **dict.fromkeys(("curve_ulp", "curve_steps", "curve_l2"), "radius,vectors,tokens,chosen,zero"),
    "shells": "ulp,part,vectors,tokens",
    "populations": "rank,population,part,token,text,distance_ulp,label",
    "rulers": (
        "vector,part,population,distance_ulp,distance_steps,distance_l2,token,text,"
        "chosen_ulp,chosen_steps,zero_ulp,zero_steps"
    ),
    "diversity": "distinct,of,dimensions",
    "quantization": "exponent,of,gaps,nearest",
    "cross_section": "x,y,part,tokens,vectors,dimension_x,dimension_y,token,text",
    "adjacency": ADJACENCY.strip(),
    "kinds": "class,script,part,tokens",
}
WORDS = {"part", "of", "kind", "text", "label", "class", "script", "exponent"}
"""Columns that need not hold numbers."""


def tables_of(case: Example, parts: dict[str, Kinds] | None = None) -> dict[str, str]:
    laid_out = layout(case.found.cluster.adjacency.linf)
    return plot_tables(case.found, laid_out, case.measured["vectors"], case.vectors, parts)


def rows_of(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table, newline="")))


def check_tables(case: Example) -> None:
    """Every table has its columns, numbers where numbers belong, and counts what there is."""
    tables = tables_of(case)
    assert {name: table.splitlines()[0] for name, table in tables.items()} == COLUMNS
    for name, table in tables.items():
        numbers = [column for column in COLUMNS[name].split(",") if column not in WORDS]
        plot_files.parse(name, table.encode(), numbers)
    rows = {name: rows_of(table) for name, table in tables.items()}
    vectors, tokens = len(case.vectors.populations), int(case.vectors.populations.sum())
    for name in ("shells", "cross_section"):
        assert sum(int(row["vectors"]) for row in rows[name]) == vectors
        assert sum(int(row["tokens"]) for row in rows[name]) == tokens
    for name in ("populations", "rulers"):
        assert len(rows[name]) == vectors
        assert sum(int(row["population"]) for row in rows[name]) == tokens
    assert sum(row["kind"] == "vector" for row in rows["adjacency"]) == vectors
    for ruler in RULERS:
        assert vectors == 0 or rows[f"curve_{ruler}"][-1]["tokens"] == str(tokens)
    of = {"cluster": case.found.cluster, "core": case.found.core}
    for part, structure in of.items():
        gaps = sum(int(row["gaps"]) for row in rows["quantization"] if row["of"] == part)
        nearest = sum(int(row["nearest"] or 0) for row in rows["quantization"] if row["of"] == part)
        assert gaps == nearest == structure.quantization.gaps
        dimensions = [int(row["dimensions"]) for row in rows["diversity"] if row["of"] == part]
        some = len(structure.adjacency.face.degrees) > 0
        assert sum(dimensions) == (case.measured["vectors"].shape[1] if some else 0)
    for name in ("shells", "cross_section", "populations", "rulers"):
        count = "vectors" if "vectors" in COLUMNS[name].split(",") else None
        inside = [int(row[count]) if count else 1 for row in rows[name] if row["part"] == "core"]
        assert sum(inside) == case.vectors.within.sum()


@given(cases(), st.sampled_from(RULERS), st.sampled_from([0.0, 0.5, 3.0, 3.4028234663852886e38]))
def test_the_tables_of_any_measurements_hold_numbers_that_agree(
    cluster: Cluster, ruler: str, radius: float
) -> None:
    check_tables(example_of(tensors_of(measure(*cluster)), ruler, radius))


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("make", EXTREME.values(), ids=EXTREME)
def test_the_tables_of_extreme_measurements_hold_numbers_that_agree(
    make: Callable[[], Measurements], ruler: str
) -> None:
    check_tables(example_of(tensors_of(make()), ruler, 1.0))


@pytest.mark.parametrize("ruler", RULERS)
def test_of_an_empty_cluster_there_are_only_columns(ruler: str) -> None:
    tables = tables_of(example_of(tensors_of(EMPTY), ruler))
    assert tables == {name: f"{columns}\n" for name, columns in COLUMNS.items()}


@given(cases(), st.sampled_from(RULERS))
def test_a_curve_is_the_core_at_every_distance(cluster: Cluster, ruler: str) -> None:
    measured = measure(*cluster)
    distance = getattr(measured, f"distance_{ruler}")
    table = curve_table(example_of(tensors_of(measured)).vectors, ruler)
    expected = []
    for radius in np.unique(distance):
        core = core_within(
            float(radius), distance, measured.vector_of_token, measured.token_ids
        )  # fmt: skip
        expected.append((number(radius), core.vectors, len(core.token_ids)))
    found = [tuple(map(float, line.split(",")[:3])) for line in table.splitlines()[1:]]
    assert found == expected
    assert found[-1][1:] == (len(measured.vectors), len(measured.token_ids))
