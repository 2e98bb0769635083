"""What the figures were measured on; nothing that names the machine."""

import os
import platform
from pathlib import Path


def busy_seconds() -> float:
    """Return the processor time that all processes of the machine have used, since it was started."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    ticks = dict(zip(names, map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]), strict=False))
    return sum(ticks[name] for name in names if name not in ("idle", "iowait", "steal")) / os.sysconf("SC_CLK_TCK")


def describe_machine() -> dict[str, object]:
    """Return processor, memory, load and versions."""
    return {
        "processor": _first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
        "load_1_minute": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"
