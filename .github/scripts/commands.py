"""Run nbdev's own commands, unmodified, in a copy of the project with a few small notebooks; the last line counts them.

    python .github/scripts/commands.py            # Quarto is the stand-in of quarto.py, which records its calls
    python .github/scripts/commands.py --quarto   # with Quarto itself, as on GitHub

README.md stays the work of readme.py: what `nbdev_readme` makes with Quarto differs with Quarto's version. With the
stand-in both are the same, which is checked.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from quarto import calls, stand_in
from readme import ROOT

KEPT = ("index.ipynb", "00_core.ipynb", "02a_cache.ipynb")  # the notebooks of the copy
LEFT_OUT = shutil.ignore_patterns(".*", "_proc", "_docs", "build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks")
LIMIT = 600  # seconds for one command
COMMANDS = {  # command -> what Quarto is called with
    "nbdev_export": [],
    "nbdev_test": [],
    "nbdev_clean": [],
    "nbdev_proc_nbs": [],
    "nbdev_readme": [["render", "index.ipynb", "-o", "README.md", "-t", "gfm", "--no-execute"]],
    "nbdev_docs": [["render", "--no-cache"]],
    "nbdev_prepare": [],
    "nbdev_preview": [["preview"]],
}


def copy_project(folder):
    "The project with the notebooks of `KEPT`."
    copy = Path(folder) / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for path in [*(copy / "nbs").rglob("*.ipynb"), *(copy / "nbs").rglob("*.qmd")]:
        if path.name not in KEPT:
            path.unlink()
    entries = "".join(f"      - {name}\n" for name in KEPT)
    (copy / "nbs/sidebar.yml").write_text(f"website:\n  sidebar:\n    contents:\n{entries}", encoding="utf-8")
    (copy / "README.md").touch()  # younger than its notebook: nbdev_docs and nbdev_prepare leave it as it is
    return copy


def texts(copy):
    "What no command may change: the modules of the kept notebooks, those notebooks, README.md."
    modules = [f"freesegdiff/{name[name.index('_') + 1 : -6]}.py" for name in KEPT if "_" in name]
    return {name: (copy / name).read_bytes() for name in [*modules, *(f"nbs/{kept}" for kept in KEPT), "README.md"]}


def run(command, copy, environment):
    "What is wrong with one command."
    before = texts(copy)
    try:
        done = subprocess.run([Path(sys.executable).parent / command], cwd=copy, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return [f"ended after {LIMIT} s"]
    if done.returncode:
        return [f"exit status {done.returncode}", *(done.stdout + done.stderr).splitlines()[-8:]]
    return [f"{name} is changed" for name, text in texts(copy).items() if text != before[name]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quarto", action="store_true", help="with Quarto itself; without nbdev_preview, which does not end")
    args, failed, count = parser.parse_args(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_project(folder)
        environment = {**(dict(os.environ) if args.quarto else stand_in(folder)), "PYTHONPATH": str(copy), "PYTHONWARNINGS": "ignore"}
        for command, expected in COMMANDS.items():
            if args.quarto and command == "nbdev_preview":
                continue
            known = len(calls(folder))
            wrong = run(command, copy, environment)
            if args.quarto:
                wrong = [complaint for complaint in wrong if complaint != "README.md is changed"]
            elif not wrong:
                called = [[Path(part).name if part.endswith(".ipynb") else part for part in call] for call in calls(folder)[known:]]
                wrong += [f"Quarto is called with {called}"] * (called != expected)
            if command == "nbdev_docs" and not (copy / "_docs/core.html").exists() and not (copy / "_docs/00_core.html").exists():
                wrong.append("there is no page of the chapter core")
            print("FAIL" if wrong else "ok  ", command, *wrong, sep="\n       " if wrong else " ", flush=True)
            failed += bool(wrong)
            count += 1
    print(f"{count - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
