"""What the system says of this process and its machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""The signals that tell a process to end, as far as the system has them; SIGBREAK is Windows' Ctrl-Break."""

OUTPUT_ENCODING = "utf-8" if sys.platform == "win32" else None
"""That of standard output and error; None is what Python chose, which on Windows may be a code page of few letters."""

_STATUS, _CPU_INFO = Path("/proc/self/status"), Path("/proc/cpuinfo")
_KIB, _MIB = 1 << 10, 1 << 20


def peak_memory_mib() -> float | None:
    """Largest resident set of this process so far, in MiB; None where the system does not say.

    On Linux ``getrusage`` reports at least what the launching process had before exec, so the kernel's own record is
    preferred. Its ``ru_maxrss`` counts KiB, on macOS bytes.
    """
    if sys.platform == "win32":
        return _peak_of_windows()
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * _KIB / _MIB
    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else _KIB) / _MIB


def _peak_of_windows() -> float | None:
    """``PeakWorkingSetSize`` of the PROCESS_MEMORY_COUNTERS of this process."""
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    sizes = ("peak", "now", "peak_paged", "paged", "peak_nonpaged", "nonpaged", "pagefile", "peak_pagefile")

    class Counters(ctypes.Structure):
        _fields_ = [
            ("size", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in sizes),
        ]

    counters = Counters(size=ctypes.sizeof(Counters))
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    ask = kernel.K32GetProcessMemoryInfo
    ask.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    if not ask(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size):
        return None
    return int(counters.peak) / _MIB


def usable_cpus() -> int:
    """Processors that this process may use; all of the machine where the system does not say. At least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """The processor's model where the system tells it, else what kind it is; may be empty."""
    import platform  # brings subprocess with it, which a decision has no use for

    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def user_name() -> str:
    """Who runs this process."""
    import getpass

    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container whose user has no name; Windows without USERNAME
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
