"""A project with a survey of a few checkpoints, made in this process."""

from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

import project
from project import Project

NAME = "run"
STEPS = (0, 10, 20, 30)
ARRIVED = {0: 0, 10: 3, 20: 6, 30: 5}
"""Step -> tokens of the cluster: the first ones, all of one vector."""
SURVEY = f"""\
survey:
  {NAME}:
    sources: [steps/*.safetensors, steps/missing]
    radii: [2, 0]
    distances: [ulp]
    threshold: 0.002
"""


def matrix(tokens: int) -> NDArray[np.generic]:
    """bfloat16[20, 4]: so many identical rows, the others far from each other."""
    rows = np.random.default_rng(0).standard_normal((20, 4))
    rows[:tokens] = [0.5, -0.25, 0.125, 0.75]
    return rows.astype(ml_dtypes.bfloat16)


def surveyed(folder: Path, models: str = "[]") -> Project:
    """The project, once the survey was made; ``models`` as in params.yaml."""
    made = Project(folder)
    (folder / "steps").mkdir(parents=True)
    made.write_params(project.PARAMS.replace("models: [tiny]", f"models: {models}") + SURVEY)
    for step in STEPS:
        content = save({"lm_head.weight": matrix(ARRIVED[step])})
        (folder / "steps" / f"step{step}.safetensors").write_bytes(content)
    done = made.command_here("survey", NAME, "--workers", "0")
    assert (done.code, done.err) == (0, "")
    return made
