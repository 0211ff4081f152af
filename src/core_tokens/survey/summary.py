"""How a survey ended, for people."""

from core_tokens.survey.results import Summary
from core_tokens.survey.run import FOLDER
from core_tokens.survey.tables import said


def text(name: str, ended: Summary) -> str:
    """A few lines: how many checkpoints, what became of cluster and core, what failed."""
    totals = ended.totals
    total = totals.succeeded + totals.failed
    lines = [
        f"Survey {name}: {total:,} checkpoint{'s' * (total != 1)}, {totals.succeeded:,} succeeded "
        f"({ended.reused:,} of them from the store), {totals.failed:,} failed",
        f"  {'':22}{'first':>10}{'last':>10}{'largest':>10}",
    ]
    for size, largest in totals.largest.items():
        ends = (totals.first[size], totals.last[size], largest)
        lines.append(f"  {said(size):22}" + "".join(f"{each:>10,g}" for each in ends))
    for checkpoint, error in ended.failures:
        lines.append(f"  failed: {checkpoint}: {error.removeprefix(f'{checkpoint}: ')}")
    if totals.failed > len(ended.failures):
        lines.append(f"  and {totals.failed - len(ended.failures):,} more, in survey.parquet")
    lines.append(f"  {ended.seconds:,.1f} s of work; see {FOLDER / name}")
    return "\n".join(lines)
