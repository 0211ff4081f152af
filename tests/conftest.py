"""One hypothesis profile: no deadlines, a blob to replay a failure, the same draws in CI."""

import os

from hypothesis import settings

settings.register_profile(
    "core-tokens", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
settings.load_profile("core-tokens")
