import math
import re
from pathlib import Path

import pytest

from core_tokens import params
from core_tokens.errors import CoreTokensError, FileError, ParamsError
from project import PARAMS

FULL = """\
# a comment
models: [a, b-2]      # another
fetch:
  a: {source: "replica:x"}
cluster:
  adjacency_threshold: 0.002
  discover:
    - a
measure:
  device: cpu  # more
extract:
  distance: steps
  radius: 3
draw:
  format: png
  theme: dark
"""


def load(folder: Path, text: str | bytes) -> params.Params:
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return params.load(path)


def changed(line: str, new: str) -> str:
    assert FULL.count(line) == 1, line
    return FULL.replace(line, new)


def test_values_are_typed_and_comments_are_allowed(tmp_path: Path) -> None:
    loaded = load(tmp_path, FULL)
    assert loaded.models == ["a", "b-2"]
    assert loaded.fetch["a"].source == "replica:x"
    assert loaded.cluster.adjacency_threshold == 0.002
    assert loaded.cluster.discover == ["a"]
    assert loaded.measure.device == "cpu"
    assert (loaded.extract.distance, loaded.extract.radius) == ("steps", 3.0)
    assert isinstance(loaded.extract.radius, float)
    assert (loaded.draw.format, loaded.draw.theme) == ("png", "dark")


def test_params_are_read_from_the_current_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    assert params.load().models == ["tiny"]


def test_empty_lists_and_mappings_are_allowed(tmp_path: Path) -> None:
    text = changed("[a, b-2]", "[]").replace('\n  a: {source: "replica:x"}', " {}")
    loaded = load(tmp_path, text.replace("discover:\n    - a", "discover: []"))
    assert (loaded.models, loaded.fetch, loaded.cluster.discover) == ([], {}, [])


@pytest.mark.parametrize("name", ["a", "0", "a0", "qwen3-4b-replica", "a--b", "x" * 100])
def test_slugs_are_names(name: str) -> None:
    assert params.is_slug(name)


@pytest.mark.parametrize(
    "name",
    ["", "-", "-a", "A", "a.b", "a/b", "..", "a b", "a_b", "a\n", "\na", "é", "a;b", "$(a)", "`a`",
     "a'b", 'a"b', "a*", "a@b", "{a}", "${a}", "٣", "a\x00"],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    assert not params.is_slug(name)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("4", 4.0),
        ("4.0", 4.0),
        ("1e-3", 1e-3),
        ("1e-05", 1e-05),
        ("1E+2", 100.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("+3", 3.0),
        ("0", 0.0),
        ("0.0", 0.0),
        ("-0.0", 0.0),
        ("3.4028234663852886e38", 3.4028234663852886e38),
    ],
)
def test_radius_is_a_number_however_it_is_written(
    tmp_path: Path, written: str, value: float
) -> None:
    assert load(tmp_path, changed("radius: 3", f"radius: {written}")).extract.radius == value


@pytest.mark.parametrize(("written", "value"), [("1e-3", 1e-3), ("1", 1.0), ("1e-05", 1e-05)])
def test_threshold_is_a_number_however_it_is_written(
    tmp_path: Path, written: str, value: float
) -> None:
    loaded = load(tmp_path, changed("threshold: 0.002", f"threshold: {written}"))
    assert loaded.cluster.adjacency_threshold == value


@pytest.mark.parametrize(
    ("key", "found", "written"),
    [
        ("extract.radius", "-1.0", "-1"),
        ("extract.radius", "-1e-30", "-1e-30"),
        ("extract.radius", "nan", ".nan"),
        ("extract.radius", "inf", ".inf"),
        ("extract.radius", "-inf", "-.inf"),
        ("extract.radius", "inf", "1e999"),
        ("extract.radius", "1e+39", "1e39"),
        ("extract.radius", "'three'", "three"),
        ("extract.radius", "'3.0'", "'3.0'"),
        ("extract.radius", "'3,5'", "3,5"),
        ("extract.radius", "None", ""),
        ("extract.radius", "None", "null"),
        ("extract.radius", "True", "true"),
        ("extract.radius", "[3.0]", "[3.0]"),
        ("extract.radius", "{'of': 3}", "{of: 3}"),
        ("extract.radius", "date(2001, 2, 3)", "2001-02-03"),
        ("extract.radius", "1000000", "1" + "0" * 400),
        ("cluster.adjacency_threshold", "0.0", "0"),
        ("cluster.adjacency_threshold", "-0.0", "-0.0"),
        ("cluster.adjacency_threshold", "-0.002", "-0.002"),
        ("cluster.adjacency_threshold", "nan", ".nan"),
        ("cluster.adjacency_threshold", "inf", ".inf"),
        ("cluster.adjacency_threshold", "1e+39", "1e39"),
        ("cluster.adjacency_threshold", "1e-60", "1e-60"),
        ("cluster.adjacency_threshold", "'small'", "small"),
        ("cluster.adjacency_threshold", "None", ""),
    ],
)
def test_number_out_of_range_or_no_number_is_refused_by_its_key(
    tmp_path: Path, key: str, found: str, written: str
) -> None:
    line = {"extract.radius": "radius: 3", "cluster.adjacency_threshold": "threshold: 0.002"}[key]
    message = rf"^params\.yaml: {re.escape(key)}: found .*{re.escape(found)}.*; expected .+"
    with pytest.raises(ParamsError, match=message):
        load(tmp_path, changed(line, f"{line.partition(':')[0]}: {written}"))


@pytest.mark.parametrize(
    ("line", "new", "message"),
    [
        ("distance: steps", "distance: cosine", r"extract\.distance: found 'cosine'; expected"),
        ("distance: steps", "distance: ULP", r"extract\.distance: found 'ULP'; expected"),
        ("distance: steps", "distance: 2", r"extract\.distance: found 2; expected"),
        ("distance: steps", "distance:", r"extract\.distance: found None; expected"),
        ("distance: steps", "distance: cosine", r"extract\.distance: .*expected.*ulp.*steps.*l2"),
        ("device: cpu", "device: tpu", r"measure\.device: found 'tpu'; expected"),
        ("device: cpu", "device: [cpu]", r"measure\.device: found \['cpu'\]; expected"),
        ("device: cpu", "device: tpu", r"measure\.device: found .*; expected.*cpu"),
        ("[a, b-2]", "a", r"models: found 'a'; expected"),
        ("[a, b-2]", "", r"models: found None; expected"),
        ("[a, b-2]", "{a: 1}", r"models: found \{'a': 1\}; expected"),
        ("[a, b-2]", "[a, 2]", r"models.*: found 2; expected"),
        ("[a, b-2]", "[a, null]", r"models.*: found None; expected"),
        ("[a, b-2]", "[a, [b]]", r"models.*: found \['b'\]; expected"),
        ("    - a", "    - 1", r"cluster\.discover.*: found 1; expected"),
        ("    - a", "    - a: 1", r"cluster\.discover.*: found \{'a': 1\}; expected"),
        ('{source: "replica:x"}', "replica:x", r"fetch\.a: found 'replica:x'; expected"),
        ('{source: "replica:x"}', "{source: 1}", r"fetch\.a\.source: found 1; expected"),
    ],
)
def test_value_of_the_wrong_kind_is_refused_by_its_key(
    tmp_path: Path, line: str, new: str, message: str
) -> None:
    with pytest.raises(ParamsError, match=rf"^params\.yaml: {message}"):
        load(tmp_path, changed(line, new))


@pytest.mark.parametrize("name", ["A", "a.b", "a/b", "a b", "a_b", "$(a)", "", "-a", "..", "a;b"])
@pytest.mark.parametrize(
    ("line", "new", "key"),
    [
        ("[a, b-2]", "[a, NAME]", "models"),
        ("    - a", "    - NAME", "cluster.discover"),
        ("  a: {source", "  NAME: {source", "fetch"),
    ],
)
def test_name_of_a_model_that_is_no_slug_is_refused_by_its_key(
    tmp_path: Path, name: str, line: str, new: str, key: str
) -> None:
    message = rf"^params\.yaml: {re.escape(key)}.*{re.escape(repr(name))}; expected letters a-z"
    with pytest.raises(ParamsError, match=message):
        load(tmp_path, changed(line, new.replace("NAME", f'"{name}"')))


@pytest.mark.parametrize(
    ("line", "new", "key", "unknown"),
    [
        ("models: ", "modles: ", "", "modles"),
        ("models: ", "extra: 1\nmodels: ", "", "extra"),
        ("extract:\n", "extrakt:\n", "", "extrakt"),
        ("  device: cpu", "  devise: cpu", "measure", "devise"),
        ("  device: cpu", "  device: cpu\n  threads: 2", "measure", "threads"),
        ("  radius: 3", "  radius: 3\n  radios: 4", "extract", "radios"),
        ("  adjacency_threshold: 0.002", "  threshold: 0.002", "cluster", "threshold"),
        ('{source: "replica:x"}', '{sauce: "replica:x"}', "fetch", "sauce"),
        ('{source: "replica:x"}', '{source: "replica:x", tensors: W}', "fetch", "tensors"),
    ],
)
def test_unknown_or_misspelt_key_is_named_with_its_section(
    tmp_path: Path, line: str, new: str, key: str, unknown: str
) -> None:
    section = rf": {re.escape(key)}" if key else ""
    with pytest.raises(ParamsError, match=rf"^params\.yaml{section}.*: found .*`{unknown}`"):
        load(tmp_path, changed(line, new))


@pytest.mark.parametrize(
    ("line", "key", "missing"),
    [
        ("models: [a, b-2]      # another\n", "", "models"),
        ("measure:\n  device: cpu  # more\n", "", "measure"),
        ("extract:\n  distance: steps\n  radius: 3\n", "", "extract"),
        ("  radius: 3\n", "extract", "radius"),
        ("  distance: steps\n", "extract", "distance"),
        ("  adjacency_threshold: 0.002\n", "cluster", "adjacency_threshold"),
        ("  discover:\n    - a\n", "cluster", "discover"),
    ],
)
def test_missing_key_is_named_with_its_section(
    tmp_path: Path, line: str, key: str, missing: str
) -> None:
    section = rf": {re.escape(key)}" if key else ""
    with pytest.raises(ParamsError, match=rf"^params\.yaml{section}: found missing.*`{missing}`"):
        load(tmp_path, changed(line, ""))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "None"),
        (b"# only a comment\n", "None"),
        (b"[]\n", r"\[\]"),
        (b"- models\n", r"\['models'\]"),
        (b"models\n", "'models'"),
        (b"3\n", "3"),
    ],
)
def test_file_that_is_no_mapping_is_refused(tmp_path: Path, text: bytes, found: str) -> None:
    with pytest.raises(CoreTokensError, match=rf"^params\.yaml: found {found}; expected .+"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        b"models: [a\n",
        b"\tmodels: []\n",
        b"models: {a: b: c}\n",
        b"models: *nowhere\n",
        b"models: !unknown x\n",
        b"models: !!python/object:os.system x\n",
        b"models: \x00\n",
        b"\xff\xfe\x00",
        b"models: caf\xe9\n",
        b"--- {}\n--- {}\n",
        b"\x89PNG\r\n",
        b"[" * 10_000,
        b"a: 2001-13-45\n",
        b"a: " + b"9" * 5_000 + b"\n",
    ],
)
def test_file_that_is_no_yaml_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(FileError, match=r"params\.yaml: found no valid YAML .*; expected a YAML"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "new", "key"),
    [
        ("  radius: 3", "  radius: 3\n  radius: 4", "radius"),
        ("measure:\n", "models: []\nmeasure:\n", "models"),
    ],
)
def test_key_that_stands_there_twice_is_refused(
    tmp_path: Path, line: str, new: str, key: str
) -> None:
    with pytest.raises(FileError, match=rf"params\.yaml: found .*duplicate key .*{key}"):
        load(tmp_path, changed(line, new))


@pytest.mark.parametrize(
    ("line", "new", "right"),
    [
        ("models: ", "modles: ", "models"),
        ("  device: cpu", "  devise: cpu", "device"),
        ("  radius: 3", "  radios: 3", "radius"),
    ],
)
def test_message_about_an_unknown_key_lists_the_known_ones(
    tmp_path: Path, line: str, new: str, right: str
) -> None:
    with pytest.raises(ParamsError, match=rf"; expected .*\b{right}\b"):
        load(tmp_path, changed(line, new))


@pytest.mark.parametrize("written", ["1e39", "1" + "0" * 400])
def test_message_about_a_radius_that_is_too_large_says_how_large_it_may_be(
    tmp_path: Path, written: str
) -> None:
    with pytest.raises(ParamsError, match=r"extract\.radius: found 1.*; expected .*(3\.4|float32)"):
        load(tmp_path, changed("radius: 3", f"radius: {written}"))


def test_list_that_holds_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CoreTokensError, match=r"params\.yaml: .*found .*; expected"):
        load(tmp_path, changed("[a, b-2]", "&all [a, *all]"))


@pytest.mark.parametrize("key", ["1", "true", "null", "[1, 2]", "2001-02-03"])
@pytest.mark.parametrize("line", ["models: ", "  a: {source", "  radius: 3"])
def test_key_that_is_no_text_is_refused(tmp_path: Path, line: str, key: str) -> None:
    indent = line[: len(line) - len(line.lstrip())]
    with pytest.raises(CoreTokensError, match=r"params\.yaml.*: found .*; expected .+"):
        load(tmp_path, changed(line, f"{indent}? {key}\n{indent}: x\n{line}"))


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"params\.yaml: found no such file.*; expected the folder"):
        params.load(tmp_path / "params.yaml")


def test_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(FileError, match=r"params\.yaml: found a folder.*; expected "):
        params.load(tmp_path / "params.yaml")


def test_every_message_is_one_line_of_moderate_length(tmp_path: Path) -> None:
    for new in ("x" * 10_000, "[" + "x, " * 5_000 + "]", '"a\\nb"', "|\n    a\n    b"):
        with pytest.raises(ParamsError, match=r"extract\.radius") as caught:
            load(tmp_path, changed("radius: 3", f"radius: {new}"))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_model_that_is_listed_passes() -> None:
    params.check_listed("a", ["b", "a"], "models")
    params.check_listed("a", {"a": 1}, "fetch")


@pytest.mark.parametrize(
    ("listed", "found"), [([], "no model"), (["a"], "'a'"), (["a", "c"], "'a', 'c'")]
)
def test_model_that_is_not_listed_is_refused_with_those_that_are(
    listed: list[str], found: str
) -> None:
    with pytest.raises(ParamsError, match=rf"^params\.yaml: models: found {found}; expected .*'b'"):
        params.check_listed("b", listed, "models")


def test_largest_radius_is_the_largest_float32() -> None:
    assert math.ldexp(2 - 2**-23, 127) == params.LARGEST_FLOAT32


# ---- surveys ---------------------------------------------------------------------------------

SURVEY = (
    FULL
    + """\
survey:
  run:
    sources:
      - hf://org/model
      - source: run/step*/
      - {source: "hf://org/model@{rev}", rev: [main, 1000], which: embedding, tensor: W}
      - {source: "hf://org/model@step{rev}", rev: "*000"}
    radii: [3, 0.5]
    distances: [ulp, l2]
    threshold: 2e-3
    store: kept
"""
)


def survey_with(line: str, new: str) -> str:
    assert SURVEY.count(line) == 1, line
    return SURVEY.replace(line, new)


def test_without_surveys_there_are_none(tmp_path: Path) -> None:
    assert load(tmp_path, FULL).survey == {}
    assert load(tmp_path, FULL + "survey: {}\n").survey == {}


def test_the_values_of_a_survey_are_typed(tmp_path: Path) -> None:
    found = load(tmp_path, SURVEY).survey["run"]
    assert found.sources == [
        "hf://org/model",
        params.Sources("run/step*/"),
        params.Sources("hf://org/model@{rev}", ["main", 1000], "embedding", "W"),
        params.Sources("hf://org/model@step{rev}", "*000"),
    ]
    assert found.radii == [3.0, 0.5]
    assert all(isinstance(radius, float) for radius in found.radii)
    assert (found.distances, found.threshold, found.store) == (["ulp", "l2"], 0.002, "kept")


def test_the_store_of_a_survey_need_not_be_named(tmp_path: Path) -> None:
    assert load(tmp_path, survey_with("    store: kept\n", "")).survey["run"].store is None


def test_a_survey_is_no_model(tmp_path: Path) -> None:
    assert load(tmp_path, SURVEY).names == {"a", "b-2"}


@pytest.mark.parametrize(
    ("line", "new", "key", "found", "right"),
    [
        ("radii: [3, 0.5]", "radii: []", "radii", "an empty list", "at least one"),
        ("radii: [3, 0.5]", "radii: 3", "radii", "3", "a list"),
        ("radii: [3, 0.5]", "radii: [3, x]", "radii[1]", "'x'", "a number"),
        ("radii: [3, 0.5]", "radii: [3, 3.0]", "radii", "[3.0, 3.0]", "each once"),
        ("radii: [3, 0.5]", "radii: [3, -1]", "radii[1]", "-1.0", "a number from 0"),
        ("radii: [3, 0.5]", "radii: [.nan]", "radii[0]", "nan", "a number from 0"),
        ("radii: [3, 0.5]", "radii: [1e39]", "radii[0]", "1e+39", "a number from 0"),
        ("radii: [3, 0.5]", "radii:", "radii", "None", "a list"),
        ("[ulp, l2]", "[]", "distances", "an empty list", "at least one"),
        ("[ulp, l2]", "[ulp, ulp]", "distances", "['ulp', 'ulp']", "each once"),
        ("[ulp, l2]", "[cosine]", "distances[0]", "'cosine'", "one of ulp, steps, l2"),
        ("[ulp, l2]", "ulp", "distances", "'ulp'", "a list"),
        ("threshold: 2e-3", "threshold: 0", "threshold", "0.0", "a number from 1.4013e-45"),
        ("threshold: 2e-3", "threshold: -1", "threshold", "-1.0", "a number from 1.4013e-45"),
        ("threshold: 2e-3", "threshold: .inf", "threshold", "inf", "a number from 1.4013e-45"),
        ("threshold: 2e-3", "threshold: low", "threshold", "'low'", "a number"),
        ("store: kept", "store: 3", "store", "3", "text"),
        ("store: kept", "store: [a]", "store", "['a']", "text"),
        ("- hf://org/model\n", "- 3\n", "sources[0]", "3", "a source, or keys with values"),
        ("- hf://org/model\n", "-\n", "sources[0]", "None", "a source, or keys with values"),
        ("- source: run/step*/", "- source: 3", "sources[1].source", "3", "text"),
        ("rev: [main, 1000]", "rev: [[x]]", "sources[2].rev[0]", "['x']", "the name of a revision"),
        ("rev: [main, 1000]", "rev: 3.5", "sources[2].rev", "3.5", "a list of revisions, or a"),
        ("rev: [main, 1000]", "rev: {a: 1}", "sources[2].rev", "{'a': 1}", "a list of revisions"),
        ("which: embedding", "which: head", "sources[2].which", "'head'", "one of unembedding"),
        ("tensor: W", "tensor: 1", "sources[2].tensor", "1", "text"),
    ],
)  # fmt: skip
def test_a_value_of_a_survey_that_is_wrong_is_refused_by_its_key(
    tmp_path: Path, line: str, new: str, key: str, found: str, right: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, survey_with(line, new))
    message = f"params.yaml: survey.run.{key}: found {found}; expected {right}"
    assert str(caught.value).startswith(message)


def test_a_survey_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"survey\.run: found 3; expected keys with values"):
        load(tmp_path, f"{FULL}survey: {{run: 3}}\n")


@pytest.mark.parametrize("value", ["3", "[]", "", "text"])
def test_surveys_that_are_no_mapping_are_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ParamsError, match=r"^params\.yaml: survey: found .*; expected keys with"):
        load(tmp_path, f"{FULL}survey: {value}\n")


def test_a_survey_without_sources_is_refused(tmp_path: Path) -> None:
    start, end = SURVEY.index("    sources:"), SURVEY.index("    radii:")
    text = f"{SURVEY[:start]}    sources: []\n{SURVEY[end:]}"
    with pytest.raises(ParamsError, match=r"survey\.run\.sources: found an empty list;"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "new", "key", "unknown", "known"),
    [
        ("    radii:", "    radius: 3\n    radii:", "survey.run", "radius", "radii"),
        ("    store: kept", "    stores: kept", "survey.run", "stores", "store"),
        ("- source: run/step*/", "- sauce: x", "survey.run.sources[1]", "sauce", "source"),
        ("rev: [main, 1000]", "revs: [main]", "survey.run.sources[2]", "revs", "rev"),
    ],
)
def test_an_unknown_key_of_a_survey_is_named_with_those_that_are_known(
    tmp_path: Path, line: str, new: str, key: str, unknown: str, known: str
) -> None:
    message = rf"^params\.yaml: {re.escape(key)}: found .*`{unknown}`; expected only .*\b{known}\b"
    with pytest.raises(ParamsError, match=message):
        load(tmp_path, survey_with(line, new))


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("    radii: [3, 0.5]\n", "radii"), ("    distances: [ulp, l2]\n", "distances"),
        ("    threshold: 2e-3\n", "threshold"),
    ],
)  # fmt: skip
def test_a_missing_key_of_a_survey_is_named(tmp_path: Path, line: str, missing: str) -> None:
    with pytest.raises(ParamsError, match=rf"survey\.run: found missing .*`{missing}`;"):
        load(tmp_path, survey_with(line, ""))


def test_of_several_surveys_the_wrong_one_is_named(tmp_path: Path) -> None:
    text = SURVEY + "  wrong: {sources: [a], radii: [1], distances: [ulp], threshold: x}\n"
    with pytest.raises(ParamsError, match=r"^params\.yaml: survey\.wrong\.threshold: found 'x'; "):
        load(tmp_path, text)


@pytest.mark.parametrize("name", ["A", "a.b", "a/b", "..", "", "-a", "a b", "$(a)", "surveys/../x"])
def test_a_name_of_a_survey_that_is_no_slug_is_refused(tmp_path: Path, name: str) -> None:
    message = (
        rf"^params\.yaml: survey.*: found the survey name {re.escape(repr(name))}; expected let"
    )
    with pytest.raises(ParamsError, match=message):
        load(tmp_path, survey_with("  run:\n", f'  "{name}":\n'))


@pytest.mark.parametrize(
    ("line", "new", "key"),
    [
        ("[a, b-2]", "[a, surveys]", "models"),
        ("    - a", "    - surveys", "cluster.discover"),
        ("  a: {source", "  surveys: {source", "fetch"),
        ("  discover:\n", "  discover_at: {surveys: 1}\n  discover:\n", "cluster.discover_at"),
    ],
)
def test_no_model_has_the_name_of_the_folder_of_surveys(
    tmp_path: Path, line: str, new: str, key: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, changed(line, new))
    assert str(caught.value) == (
        f"params.yaml: {key}: found the model name 'surveys'; expected another: data/surveys is "
        "for what surveys find"
    )


def test_a_survey_may_have_the_name_of_a_model_and_of_the_folder(tmp_path: Path) -> None:
    for name in ("a", "surveys"):
        assert set(load(tmp_path, survey_with("  run:\n", f"  {name}:\n")).survey) == {name}


def test_a_survey_that_is_not_listed_is_refused_as_one() -> None:
    with pytest.raises(ParamsError, match=r"^params\.yaml: survey: found no survey; .*survey 'b'"):
        params.check_listed("b", {}, "survey", "survey")
