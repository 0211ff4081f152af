"""Where it was measured: the processor and the versions, and nothing that names the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = "numpy", "scipy", "xxhash", "dvc", "torch"


def description() -> list[str]:
    """A few lines."""
    model = _value("/proc/cpuinfo", "model name")
    memory = int(_value("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{package} {version(package)}" for package in PACKAGES]
    return [
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB of memory, "
        f"Linux {platform.release().split('-')[0]}",
        ", ".join(versions),
    ]


def _value(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"
