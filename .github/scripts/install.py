"""Install the wheel and the sdist, each into an environment of its own, and run the demo there; the last line counts.

Dependencies come from the environment that runs this script, to save time; the package itself must come from the file.
"""

import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from readme import ROOT

WHERE = "import freesegdiff; print(freesegdiff.__file__)"


def run(*command, cwd=None):
    "Run a command and give what it printed; a failure shows all of it."
    done = subprocess.run(list(map(str, command)), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:])
    return done.stdout


def complaints(file, folder):
    "Install one file, look where the package lies, and segment the samples."
    venv.create(folder / "env", with_pip=True)
    python = folder / "env/bin/python"
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # a plain path: no editable install comes along
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", file)
    if own not in Path(run(python, "-c", WHERE, cwd=folder).strip()).parents:
        return [f"{file.name}: the package comes from elsewhere"]
    run(folder / "env/bin/freesegdiff", "demo", "--out", "demo", cwd=folder)
    found = [path for path in sorted((folder / "demo").glob("*.json")) if path.name != "run.json"]
    empty = [path.name for path in found if not json.loads(path.read_text(encoding="utf-8"))["regions"]]
    return [f"{file.name}: no regions in {name}" for name in empty] if found else [f"{file.name}: the demo wrote nothing"]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        run(sys.executable, "-m", "build", "-o", work, ROOT)  # the sdist, then the wheel from the sdist
        files = [*Path(work).glob("*.whl"), *Path(work).glob("*.tar.gz")]
        for file in files:
            folder = Path(work) / file.suffix[1:]
            folder.mkdir()
            try:
                wrong = complaints(file, folder)
            except RuntimeError as error:
                wrong = [str(error)]
            failed += bool(wrong)
            print("FAIL" if wrong else "ok  ", f"{file.name} installs, and `freesegdiff demo` runs", *wrong, sep="\n       " if wrong else " ", flush=True)
    print(f"{len(files) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or len(files) != 2)


if __name__ == "__main__":
    main()
