"""A survey from params.yaml to its files: which checkpoints, each examined, all put together."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tqdm import tqdm

from core_tokens import params
from core_tokens.errors import FileError
from core_tokens.survey import engine
from core_tokens.survey.checkpoints import Checkpoint, expand
from core_tokens.survey.examine import OtherVersionError, Outcome, Question, examine, explained
from core_tokens.survey.results import Summary, put_together
from core_tokens.survey.store import Store, StoreError, address

FOLDER = Path("data", params.SURVEYS)
ENDS_ALL = (StoreError, OtherVersionError, ImportError)
"""Errors that no other checkpoint would be spared."""


def survey(
    name: str, scheduler: str | None = None, workers: int | None = None, store: str | None = None
) -> Summary:
    """Examine all checkpoints of a survey, and write its files.

    Args:
        name: a key of ``survey`` in params.yaml.
        scheduler: see ``engine.client``.
        workers: see ``engine.client``; 0 for this process alone, without Dask.
        store: a folder or a URL; by default that of params.yaml, or else ``store.DEFAULT``.

    Raises:
        CoreTokensError: params.yaml is wrong, the store or the cluster is of no use, or no
            checkpoint at all could be read; nothing is written.
    """
    asked = params.load().survey
    params.check_listed(name, asked, "survey", "survey")
    settings = asked[name]
    where = f"survey.{name}"
    checkpoints = expand(settings.sources, f"{where}.sources")
    kept = Store(
        address(store or settings.store, "--store" if store else f"params.yaml: {where}.store")
    )
    kept.check()
    question = Question(settings.threshold, kept.url)
    outcomes = _examined(name, checkpoints, question, scheduler, workers)
    if all(outcome.error for outcome in outcomes):
        found = f"no checkpoint that could be examined, the first because of {outcomes[0].error!r}"
        raise FileError(f"params.yaml: {where}.sources", found, "one at least")
    return put_together(FOLDER / name, checkpoints, outcomes, kept, settings)


def _examined(
    name: str,
    checkpoints: Sequence[Checkpoint],
    question: Question,
    scheduler: str | None,
    workers: int | None,
) -> list[Outcome]:
    """The outcome of each checkpoint, in their order."""
    outcomes = [Outcome(error="not examined")] * len(checkpoints)
    reused = failed = 0
    work = partial(examine, question=question)
    with ExitStack() as cluster:
        if workers == 0:
            results = engine.serially(work, checkpoints)
        else:
            there = cluster.enter_context(engine.client(scheduler, workers, len(checkpoints)))
            results = engine.results(there, work, checkpoints)
        bar = tqdm(total=len(checkpoints), desc=name, unit=" checkpoints", disable=None)
        cluster.enter_context(bar)
        for at, result in results:
            if isinstance(result, ENDS_ALL):
                raise _ending(result)
            if isinstance(result, BaseException):
                result = Outcome(error=_failure(checkpoints[at], result))
            outcomes[at] = result
            reused += result.reused
            failed += bool(result.error)
            bar.set_postfix(reused=reused, failed=failed, refresh=False)
            bar.update()
    return outcomes


def _ending(error: BaseException) -> BaseException:
    if isinstance(error, ImportError):
        return engine.EngineError(
            "a worker", f"no Core Tokens ({error})", "it to be installed there"
        )
    return error


def _failure(checkpoint: Checkpoint, error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        found = "workers that died over it; expected memory, and a file that keeps still"
        return f"{checkpoint.name}: found {found}"
    return explained(checkpoint, error)
