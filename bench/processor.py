"""Processor time and memory of processes: the measures that other work on the machine disturbs least. Linux only."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def processor_seconds(roots: Collection[int]) -> float | None:
    """What these processes and all that came of them have used so far; None where there is no /proc."""
    used: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        used[int(entry.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    if not used:
        return None
    return sum(ticks for pid, (_, ticks) in used.items() if _descends(pid, roots, used)) / _TICKS_A_SECOND


def _descends(pid: int, roots: Collection[int], used: dict[int, tuple[int, int]]) -> bool:
    while pid in used:
        if pid in roots:
            return True
        pid = used[pid][0]
    return False


def resident_bytes(pid: int) -> int:
    """Of memory that a process holds; 0 where there is no /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
