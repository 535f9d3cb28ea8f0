"""Times, ratios and peak memory for the benchmarks."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent


def time_call(work, device="cpu", clock=time.perf_counter):
    """Return the seconds of one call; a GPU finishes its work first."""
    start = clock()
    work()
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
    return clock() - start


def time_calls(work, repeats, device="cpu"):
    """Return the seconds of each call, (repeats,), after one call to warm up."""
    time_call(work, device)
    return np.array([time_call(work, device) for _ in range(repeats)])


def format_spread(values, digits=2):
    """Format the median, the smallest and the largest of some values."""
    return f"{np.median(values):8.{digits}f} ({values.min():.{digits}f}-{values.max():.{digits}f})"


def read_memory(field):
    """Read a memory figure of this process from Linux, such as VmRSS (now) or VmHWM (peak), in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure_peak(work):
    """Return the megabytes at the peak of `work()` above the memory in use before it."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = read_memory("VmRSS")
    work()
    return (read_memory("VmHWM") - before) / 1024


def run_apart(module, function, *arguments):
    """Call a function of a benchmark in a fresh process and return what it prints."""
    code = f"import {module}; {module}.{function}(*{arguments!r})"
    paths = os.pathsep.join(map(str, (FOLDER, FOLDER.parent)))
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout.strip()
