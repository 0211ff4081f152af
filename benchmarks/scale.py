"""What a survey of ten thousand checkpoints costs, from measured constants: docs/scale.md."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

CHECKPOINTS = 10_000
CHECKPOINT_BYTES = 8_044_000_000
MATRIX_BYTES = 777_912_320
"""A model of 4 billion parameters in bfloat16, and of it the unembedding: 151,936 x 2,560."""
WORKERS = (1, 10, 100)
GIGABIT = 125e6


@dataclass(frozen=True)
class Constants:
    """What was measured.

    Attributes:
        work: seconds that one worker on one core takes for a GB in the page cache: its hash, the
            cluster, the distances, the structure.
        stream: seconds more for a GB that comes from a hub without a wire, TLS apart.
        engine: seconds of the scheduler and the client for a checkpoint.
        together: seconds of the driver for a checkpoint, when all are put together.
        ratios: how many times faster two workers were than one.
        alone: the throughput of one worker against the same loop without Dask.
        both: how many times longer one process on two cores took than two workers.
        few: bytes of the driver's memory at its largest, of ``FEW`` checkpoints.
        many: the same of ``MANY``.
        counts: FEW and MANY.
        result: bytes that are kept of a checkpoint.
    """

    work: float
    stream: float
    engine: float
    together: float
    ratios: Sequence[float]
    alone: float
    both: float
    few: int
    many: int
    counts: tuple[int, int]
    result: int


@dataclass(frozen=True)
class Place:
    """Where the matrices come from: bytes per second of a worker, and of all of them together."""

    name: str
    each: float
    shared: float
    streamed: bool


PLACES = (
    Place("hub, 1 Gbit/s for each worker", GIGABIT, float("inf"), streamed=True),
    Place("hub, 10 Gbit/s shared by all", 10 * GIGABIT, 10 * GIGABIT, streamed=True),
    Place("shared file system, 1 GB/s each, 20 GB/s in all", 1e9, 20e9, streamed=False),
)


def hours(constants: Constants, workers: int, place: Place) -> tuple[float, str]:
    """How long it takes, and what decides that."""
    gigabytes = MATRIX_BYTES / 1e9
    compute = gigabytes * (constants.work + place.streamed * constants.stream)
    bounds = {
        "the workers": CHECKPOINTS / workers * (MATRIX_BYTES / place.each + compute),
        "the link": CHECKPOINTS * MATRIX_BYTES / place.shared,
        "the scheduler": CHECKPOINTS * constants.engine,
    }
    slowest = max(bounds, key=bounds.__getitem__)
    return (bounds[slowest] + CHECKPOINTS * constants.together) / 3600, slowest


def most_useful(constants: Constants, place: Place) -> tuple[int, str]:
    """The number of workers beyond which another gains nothing, and why."""
    workers = 1
    while hours(constants, workers, place)[1] == "the workers":
        workers += 1
    return workers, hours(constants, workers, place)[1]


def document(found: Constants, machine: Sequence[str]) -> str:
    """docs/scale.md."""
    rows = []
    for place in PLACES:
        each = [hours(found, count, place) for count in WORKERS]
        cells = [f"{_time(time)}, {why}" for time, why in each]
        most, why = most_useful(found, place)
        rows.append([place.name, *cells, f"{most:,} workers: {why}"])
    wire = MATRIX_BYTES / PLACES[0].each
    work = MATRIX_BYTES / 1e9 * (found.work + found.stream)
    template = Path(__file__).with_name("scale.md.jinja").read_text("utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
                                     trim_blocks=True)  # fmt: skip
    return environment.from_string(template).render(
        found=found,
        machine=machine,
        median=statistics.median(found.ratios),
        checkpoint=CHECKPOINT_BYTES,
        matrix=MATRIX_BYTES,
        checkpoints=CHECKPOINTS,
        workers=WORKERS,
        rows=rows,
        share=wire / (wire + work),
        busy=MATRIX_BYTES / 1e9 * found.work / found.engine,
    )


def _time(time: float) -> str:
    if time >= 48:
        return f"{time / 24:.1f} days"
    return f"{time:.1f} h" if time >= 1 else f"{60 * time:.0f} min"
