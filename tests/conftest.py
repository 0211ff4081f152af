"""One hypothesis profile: no deadlines, a blob to replay a failure, the same draws in CI.

And the fixtures that several files share.
"""

import os

from hypothesis import settings

from pages import chromium, default_report, repository, texts, texts_project

__all__ = ["chromium", "default_report", "repository", "texts", "texts_project"]

settings.register_profile(
    "core-tokens", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
settings.load_profile("core-tokens")
