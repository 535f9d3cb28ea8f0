"""All that a change needs before its commit: export, clean, README and command line page, tests, checks.

    python .github/scripts/prepare.py                        # with all tests
    python .github/scripts/prepare.py nbs/10a_kmeans.ipynb     # with the tests of some notebooks
"""

import subprocess
import sys
from pathlib import Path

from readme import ROOT

HERE = Path(__file__).parent
NBDEV = "import sys; from nbdev.cli import {0}; sys.argv = ['{0}']; {0}()"


def main():
    steps = [
        ["-c", NBDEV.format("nbdev_export")],
        [HERE / "join.py"],
        ["-c", NBDEV.format("nbdev_clean")],
        [HERE / "readme.py"],
        [HERE / "cli_page.py"],
        [HERE / "test.py", *map(Path.absolute, map(Path, sys.argv[1:]))],
        [HERE / "check.py"],
    ]
    for step in steps:
        if subprocess.run([sys.executable, *step], cwd=ROOT).returncode:
            raise SystemExit(f"stopped: {Path(step[0]).name if step[0] != '-c' else step[1]} failed")


if __name__ == "__main__":
    main()
