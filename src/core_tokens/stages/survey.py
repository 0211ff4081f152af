"""What becomes of a core over many checkpoints? Their sources -> tables of all of them."""

from core_tokens import console


def run(name: str) -> None:
    """Examine the checkpoints of a survey, and write ``data/surveys/NAME``."""
    from core_tokens.survey.run import survey  # where it is needed: pyarrow may not be there
    from core_tokens.survey.summary import text

    print(text(name, survey(name)))


if __name__ == "__main__":
    raise SystemExit(console.run_stage(run))
