from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core_tokens.errors import (
    CoreTokensError,
    FileError,
    ParamsError,
    TensorError,
    UsageError,
    in_files,
    one_line,
)


@pytest.mark.parametrize("kind", [UsageError, ParamsError, FileError, TensorError])
def test_every_error_is_a_core_tokens_error(kind: type[CoreTokensError]) -> None:
    assert issubclass(kind, CoreTokensError)


def test_message_says_where_what_was_found_and_what_would_be_right() -> None:
    error = FileError(Path("data/x/W.safetensors"), "no such file", "a safetensors file")
    assert str(error) == ("data/x/W.safetensors: found no such file; expected a safetensors file")


def test_error_keeps_its_values() -> None:
    error = UsageError("core-tokens add x", "a model of that name", "a name not in use")
    assert (error.where, error.found, error.expected) == (
        "core-tokens add x", "a model of that name", "a name not in use",
    )  # fmt: skip


@pytest.mark.parametrize("breaking", ["\n", "\r\n", "\v", "\x85", "\u2028", "\n\n  "])
def test_message_stays_one_line_whatever_it_quotes(breaking: str) -> None:
    error = CoreTokensError(f"a{breaking}b", f"c{breaking}d", f"e{breaking}f")
    assert str(error) == "a b: found c d; expected e f"


def test_params_error_names_the_dotted_key() -> None:
    error = ParamsError("extract.radius", "-1.0", "a finite number >= 0")
    assert str(error) == "params.yaml: extract.radius: found -1.0; expected a finite number >= 0"


def test_params_error_of_the_whole_file_names_the_file() -> None:
    assert str(ParamsError("", "[]", "a mapping")) == "params.yaml: found []; expected a mapping"


def test_in_files_adds_the_path_of_a_tensor() -> None:
    with (
        pytest.raises(TensorError, match=r"^data/W\.safetensors: W: found nan; expected numbers$"),
        in_files(W=Path("data/W.safetensors")),
    ):
        raise TensorError("W", "nan", "numbers")


def test_in_files_keeps_the_original_error_as_the_cause() -> None:
    original = TensorError("W", "nan", "numbers")
    with pytest.raises(TensorError, match="a/b: W") as caught, in_files(W=Path("a/b")):
        raise original
    assert caught.value.__cause__ is original


def test_in_files_leaves_a_tensor_that_it_does_not_know() -> None:
    with pytest.raises(TensorError, match=r"^ulp: found 0; expected more$"), in_files(W=Path("x")):
        raise TensorError("ulp", "0", "more")


def test_in_files_lets_other_errors_pass() -> None:
    original = FileError("x", "nothing", "a file")
    with pytest.raises(FileError, match=r"^x: found nothing") as caught, in_files(x=Path("y")):
        raise original
    assert caught.value is original


@given(st.text(), st.text(), st.text())
@example("\x1b[2J", "\u202e", "\udc80")
@example("a" * 10_000, "b" * 10_000, "c" * 10_000)
def test_any_message_is_one_line_that_any_terminal_can_show(
    where: str, found: str, expected: str
) -> None:
    line = str(CoreTokensError(where, found, expected))
    assert line.isprintable()
    assert len(line.encode()) < 50_000


def test_letters_of_all_languages_stay_as_they_are() -> None:
    error = CoreTokensError("Größe", "日本語", "ελληνικά")
    assert str(error) == "Größe: found 日本語; expected ελληνικά"


def test_one_line_is_one_line() -> None:
    assert one_line("a\n  b\x1b[2J\u202ec\t") == r"a b\x1b[2J\u202ec"
