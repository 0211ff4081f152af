"""The model of docs/scale.md: what more workers gain, and what ends it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import scale, survey
from benchmarks.scale import PLACES, Constants, hours, most_useful

from core_tokens.survey.examine import Question, examine
from core_tokens.survey.record import from_bytes
from core_tokens.survey.store import Store
from repository import ROOT

FOUND = Constants(
    work=1.0, stream=0.5, engine=0.005, together=0.002, ratios=[1.7, 1.9, 1.8], alone=1.0, both=1.1,
    few=150_000_000, many=190_000_000, counts=(100, 10_000), result=100_000,
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_more_workers_never_take_longer_until_something_else_ends_it(place: scale.Place) -> None:
    times = [hours(FOUND, count, place)[0] for count in (1, 2, 10, 100, 1000, 100_000)]
    assert times == sorted(times, reverse=True)
    most, why = most_useful(FOUND, place)
    assert why != "the workers"
    assert hours(FOUND, most - 1, place)[1] == "the workers"
    assert hours(FOUND, most, place) == hours(FOUND, 10 * most, place) == (times[-1], why)


def test_one_worker_takes_as_long_as_its_parts() -> None:
    gigabytes = scale.MATRIX_BYTES / 1e9
    one = gigabytes / 0.125 + gigabytes * 1.5
    expected = 10_000 * (one + 0.002) / 3600
    found, why = hours(FOUND, 1, PLACES[0])
    assert found == pytest.approx(expected)
    assert why == "the workers"


def test_the_document_says_the_constants_and_every_place() -> None:
    text = scale.document(FOUND, ["a processor"])
    for said in ("- a processor", "1.80x (1.70 to 1.90)", "5.0 ms", "150 MB", "190 MB", "0.10 MB"):
        assert said in text
    assert all(f"| {place.name} |" in text for place in PLACES)
    assert "{" not in text
    slower = scale.document(replace(FOUND, work=10.0), [])
    assert slower != text


def words(text: str) -> list[str]:
    """The lines of running text, a # for each number."""
    lines = [line for line in text.splitlines() if not line.startswith(("|", "- "))]
    return [re.sub(r"\d[\d.,]*", "#", line) for line in lines]


def test_the_committed_document_is_of_this_template() -> None:
    committed = (ROOT / "docs" / "scale.md").read_text()
    assert words(committed) == words(scale.document(FOUND, [])), "make scale"


def test_the_matrices_of_the_measurement_are_told_apart_and_have_a_cluster(tmp_path: Path) -> None:
    checkpoints = survey.trajectory(tmp_path / "t.safetensors", 200, 32, 8, 8)
    asked = Question(0.002, str(tmp_path / "store"))
    keys = set()
    for checkpoint in (checkpoints[0], checkpoints[127], checkpoints[128], checkpoints[199]):
        outcome = examine(checkpoint, asked)
        assert outcome.error == ""
        keys.add(outcome.key)
    assert len(keys) == 4
    content = Store(asked.store).read(outcome.key)
    assert content is not None
    assert from_bytes("x", content).about.figures.cluster_tokens >= 8
