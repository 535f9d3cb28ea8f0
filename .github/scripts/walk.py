"""Walk through README.md as a reader does: a fresh clone, one shell, every command in order. The last line counts commands.

Packages come from the environment that runs this script, to save time, but none of its programs are on PATH: a command
is found only if the lines before it have made and activated an environment. What a Python block prints must be what
README.md shows after it. The line that runs all tests gets one notebook here, since .ci/run runs it in full. Commands in
running text, such as `freesegdiff app`, must exist: they are called with --help.
"""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from readme import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT = 1200  # seconds for the whole walk
TESTS, NOTEBOOK = ".github/scripts/test.py", "nbs/00_core.ipynb"
INSTALLED = "(cd / && python -c 'import freesegdiff, sys; sys.exit(not freesegdiff.__file__.startswith(sys.prefix))')"


def commands(text):
    "Every command of README.md as (what is run, what it must print or None)."
    blocks = BLOCK.findall(text)
    for (kind, code), (following, shown) in zip(blocks, [*blocks[1:], ("", "")]):
        if kind == "python":
            yield f"python <<'END'\n{code}END", shown if following == "text" else None
        elif kind == "bash":
            for line in code.splitlines():
                if line.strip() and not line.startswith("#"):
                    yield line + f" {NOTEBOOK}" * line.endswith(TESTS), None
    for words in sorted(set(re.findall(r"`(freesegdiff [a-z]+)[^`]*`", BLOCK.sub("", text)))):
        yield f"{words} --help", None


def shell_script(found, folder):
    "One script for one shell: each command with its output and its exit status in files under `folder`."
    lines = []
    for number, command in enumerate(found):
        lines += [f"printf '\\n$ %s\\n' {shlex.quote(command)}", f"{{ {command}\n}} </dev/null >{folder}/{number}.out 2>{folder}/{number}.err"]
        lines += [f"echo $? >{folder}/{number}.status; cat {folder}/{number}.out {folder}/{number}.err"]
    return "\n".join(lines)


def environment(home):
    "A reader's environment: no active Python environment, a home of its own."
    own = Path(sys.executable).parent
    path = [f"{sys.base_prefix}/bin", *(p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != own)]
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME", "IN_TEST")}
    return kept | {"PATH": os.pathsep.join(path), "HOME": str(home), "PYTHONPATH": sysconfig.get_path("purelib"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def complaint(folder, number, shown):
    "What went wrong with one command; nothing if all is well."
    status = folder / f"{number}.status"
    if not status.exists():
        return "was not reached"
    code, printed = status.read_text().strip(), (folder / f"{number}.out").read_text(encoding="utf-8")
    if code != "0":
        return f"exit status {code}"
    return f"printed {printed!r}, but README.md shows {shown!r}" if shown is not None and printed.rstrip() != shown.rstrip() else ""


def main():
    with tempfile.TemporaryDirectory() as work:
        clone, logs, home = Path(work) / "freesegdiff", Path(work) / "logs", Path(work) / "home"
        logs.mkdir(), home.mkdir()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        found = list(commands((clone / "README.md").read_text(encoding="utf-8")))
        found.insert(1, (INSTALLED, None))  # the package comes from the environment that the first line has made
        script = shell_script([command for command, _ in found], logs)
        try:
            subprocess.run(["bash", "-c", script], cwd=clone, env=environment(home), timeout=LIMIT)
        except subprocess.TimeoutExpired:
            print(f"ended after {LIMIT} s")
        wrong = {command: complaint(logs, number, shown) for number, (command, shown) in enumerate(found)}
    print()
    for command, why in wrong.items():
        print("FAIL" if why else "ok  ", command.splitlines()[0], *([f"\n       {why}"] if why else []))
    failed = sum(map(bool, wrong.values()))
    print(f"{len(wrong) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or len(found) < 3)


if __name__ == "__main__":
    main()
