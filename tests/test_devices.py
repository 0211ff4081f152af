import builtins
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest import mock

import pytest
import torch

from core_tokens import devices, measurements, torch_engine
from core_tokens.errors import ParamsError


@pytest.fixture
def machine() -> Iterator[Any]:
    """Says what torch finds: ``machine("cuda", "mps")``."""
    with (
        mock.patch.object(torch.cuda, "is_available") as cuda,
        mock.patch.object(torch.backends.mps, "is_available") as mps,
    ):

        def finds(*there: str) -> None:
            cuda.return_value, mps.return_value = "cuda" in there, "mps" in there

        yield finds


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        ([], "cpu", "cpu"),
        ([], "auto", "cpu"),
        (["cuda"], "cpu", "cpu"),
        (["cuda"], "auto", "cuda"),
        (["cuda"], "cuda", "cuda"),
        (["mps"], "auto", "mps"),
        (["mps"], "mps", "mps"),
        (["cuda", "mps"], "auto", "cuda"),
        (["cuda", "mps"], "mps", "mps"),
    ],
)
def test_the_device_is_the_one_asked_for_or_the_first_there(
    machine: Any, there: list[str], wanted: str, expected: str
) -> None:
    machine(*there)
    assert devices.choose(wanted) == expected


@pytest.mark.parametrize(
    ("there", "wanted", "instead"),
    [([], "cuda", "cpu"), ([], "mps", "cpu"), (["mps"], "cuda", "mps or cpu"),
     (["cuda"], "mps", "cuda or cpu")],
)  # fmt: skip
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    machine: Any, there: list[str], wanted: str, instead: str
) -> None:
    machine(*there)
    with pytest.raises(ParamsError) as refused:
        devices.choose(wanted)
    assert str(refused.value) == (
        f"params.yaml: measure.device: found {wanted}, of which torch {torch.__version__} finds "
        f"none here; expected {instead}, or auto"
    )


def without_torch(name: str, *others: Any, real: Any = builtins.__import__) -> Any:
    if name == "torch":
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    return real(name, *others)


def test_without_torch_there_is_the_cpu_and_how_to_install_it() -> None:
    with mock.patch.object(builtins, "__import__", without_torch):
        assert [devices.choose(wanted) for wanted in ("cpu", "auto")] == ["cpu", "cpu"]
        for wanted in ("cuda", "mps"):
            with pytest.raises(ParamsError) as refused:
                devices.choose(wanted)
            assert str(refused.value) == (
                f"params.yaml: measure.device: found {wanted}, but no torch (No module named "
                "'torch'); expected cpu or auto, or torch: "
                "pip install -c constraints.txt -e '.[torch]'"
            )


def test_the_cpu_is_measured_on_by_numpy_and_all_else_by_torch(machine: Any) -> None:
    machine("cuda", "mps")
    assert devices.engine("cpu") is measurements.measure
    for wanted, device in (("cuda", "cuda"), ("auto", "cuda"), ("mps", "mps")):
        engine = devices.engine(wanted)
        assert isinstance(engine, partial)
        assert (engine.func, engine.args) == (torch_engine.measure_on, (device,))
    machine()
    assert devices.engine("auto") is measurements.measure
