"""Where is measured? On the device that params.yaml asks for, if this machine has it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens import measurements
from core_tokens.errors import ParamsError
from core_tokens.measurements import Measurements, Precision

KEY = "measure.device"
Engine = Callable[[NDArray[Any], NDArray[np.int64], Precision], Measurements]


def engine(wanted: str) -> Engine:
    """What measures rows of a mapped matrix on the device meant (ParamsError, see ``choose``)."""
    device = choose(wanted)
    if device == "cpu":
        return measurements.measure
    from core_tokens import torch_engine

    return partial(torch_engine.measure_on, device)


def choose(wanted: str) -> str:
    """The device meant by cpu, cuda, mps or auto: the first of cuda, mps and cpu that is there.

    Only "cpu" does not import torch to find out; without torch "auto" is cpu.

    Raises:
        ParamsError: torch is not installed, or finds no such device.
    """
    if wanted == "cpu":
        return wanted
    try:
        import torch
    except ImportError as error:
        if wanted == "auto":
            return "cpu"
        install = "pip install -c constraints.txt -e '.[torch]'"
        raise ParamsError(
            KEY, f"{wanted}, but no torch ({error})", f"cpu or auto, or torch: {install}"
        ) from error
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there = [*(device for device in available if available[device]), "cpu"]
    if wanted == "auto":
        return there[0]
    if wanted not in there:
        raise ParamsError(
            KEY,
            f"{wanted}, of which torch {torch.__version__} finds none here",
            f"{' or '.join(there)}, or auto",
        )
    return wanted
