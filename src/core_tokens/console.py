"""From a command line to an exit code: every error a user can cause is one line on stderr."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper

from core_tokens.errors import CoreTokensError, UsageError, one_line


def run(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str] | None = None) -> int:
    """Call ``main`` with the arguments of the command line and return the exit code.

    0 on success, unless ``main`` returns another; 1, after one line on stderr, on any
    CoreTokensError and on what the operating system refuses; 130 on an interrupt, 143 on SIGTERM.
    Anything else is a bug and keeps its traceback.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal may not have all letters
        sys.stdout.reconfigure(errors="backslashreplace")
    # Ended by a batch system or a shutdown, a run takes its temporary files along.
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        code = main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except CoreTokensError as error:
        print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:  # who reads, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {one_line(f'{where}{error.strerror or error}')}", file=sys.stderr)
    except MemoryError:
        print("error: not enough memory", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    else:
        return code or 0
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 1


def run_stage(stage: Callable[[str], None]) -> int:
    """Run one stage for the one model that the command line, or else DVC, names.

    DVC puts what params.yaml holds into a command as raw shell text. So dvc.yaml leaves the model
    out, and it is taken from the name of the stage that DVC runs: DVC_STAGE is ``STAGE@MODEL``.
    """

    def main(arguments: Sequence[str]) -> None:
        running = os.environ.get("DVC_STAGE", "").rpartition("@")
        if not arguments and running[1]:
            arguments = running[2:]
        if len(arguments) != 1:
            name = stage.__module__ if stage.__module__ != "__main__" else "STAGE"
            raise UsageError(f"python -m {name}", f"{len(arguments)} arguments", "one: the model")
        stage(arguments[0])

    return run(main)
