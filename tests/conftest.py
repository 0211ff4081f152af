"""One hypothesis profile: no deadlines, a blob to replay a failure, the same draws in CI.

And the fixtures that several files share.
"""

import os
import signal

from hypothesis import settings

from pages import chromium, default_report, repository, texts, texts_project
from team import first, remote, server, team_project

__all__ = [
    "chromium", "default_report", "first", "remote", "repository", "server", "team_project",
    "texts", "texts_project",
]  # fmt: skip

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell in the background has it; what is started here would ignore interrupts as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "core-tokens", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
settings.load_profile("core-tokens")
