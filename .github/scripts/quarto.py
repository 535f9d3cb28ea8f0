"""A stand-in for Quarto, so that nbdev's commands run unmodified where Quarto is not installed. It records how it is called.

`quarto render index.ipynb -o README.md` writes what readme.py writes, `quarto render` lets smalldocs make the pages,
and anything else, such as `quarto preview`, does nothing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

QUIET = ("output-file", "commonmark", "fig-responsive", "html.grid", "html-math-method")  # what only Quarto knows
RENDER = "import sys; from smalldocs.cli import main; sys.argv = ['smalldocs', 'render', '--quiet', '.']; sys.exit(main())"


def stand_in(folder):
    "An environment whose PATH finds this file under the name `quarto`; its calls are recorded in `folder`/calls."
    launcher = Path(folder) / "quarto"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "QUARTO_CALLS": str(Path(folder) / "calls")}


def calls(folder):
    "The arguments of each call so far."
    path = Path(folder) / "calls"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main():
    arguments = sys.argv[1:]
    with open(os.environ["QUARTO_CALLS"], "a", encoding="utf-8") as record:
        record.write(json.dumps(arguments) + "\n")
    if "README.md" in arguments:
        from readme import readme

        Path("_docs").mkdir(exist_ok=True)
        Path("_docs/README.md").write_text(readme(), encoding="utf-8")
    elif arguments[:1] == ["render"]:
        done = subprocess.run([sys.executable, "-c", RENDER], capture_output=True, text=True)
        for line in done.stderr.splitlines():
            if not any(known in line for known in QUIET):
                print(line, file=sys.stderr)
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
