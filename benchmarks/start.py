"""Time until a command that loads no model answers, against Python itself and the import of torch.

    python benchmarks/start.py [--repeats 5]

Each round runs every command once in a process of its own, with an empty cache of the hub; the shortest of all rounds
counts. The output is one JSON object: seconds, and the ratio to `import torch` of the same run, which hardly depends on
the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "help": ["--help"],
    "presets": ["presets"],
    "a wrong path": ["segment", "nowhere.png"],
    "a wrong option": ["segment", "nowhere.png", "--preset", "minni"],
    "a wrong data set": ["evaluate", "voc2021"],
    "a wrong run folder": ["score", "nowhere"],
}


def measure(code, folder):
    """Run a program in a process of its own, and return the seconds."""
    start = time.perf_counter()
    environment = os.environ | {"HF_HUB_CACHE": str(folder)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, check=False)
    return time.perf_counter() - start


def main():
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="number of rounds")
    programs = {"python": "pass", "import torch": "import torch"}
    programs |= {name: f"from freesegdiff.cli import main; main({args!r})" for name, args in COMMANDS.items()}
    with tempfile.TemporaryDirectory() as folder:
        rounds = range(parser.parse_args().repeats)
        times = [{name: measure(code, Path(folder)) for name, code in programs.items()} for _ in rounds]
    best = {name: min(one[name] for one in times) for name in programs}
    torch = best["import torch"]
    print(json.dumps({name: {"seconds": round(s, 2), "ratio": round(s / torch, 2)} for name, s in best.items()}, indent=1))


if __name__ == "__main__":
    main()
