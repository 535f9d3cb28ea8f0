"""Run all notebooks, code and tutorials, as tests; the last line counts notebooks: `N passed, M failed`.

    python .github/scripts/test.py                          # everything, as CI does
    python .github/scripts/test.py nbs/10a_kmeans.ipynb       # some notebooks
    python .github/scripts/test.py --flags "weights slow"   # also the cells that are passed over by default
    python .github/scripts/test.py --save DIR               # keep the new outputs, for outputs.py

Each notebook runs in a process of its own through nbdev's `test_nb`. `nbdev_test` prints neither a count nor
what it skips; this runner names every cell passed over for its flag and every line `skipped: ...` that a test printed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 900  # seconds for one notebook: a hang ends, a slow machine does not


def run_here(path, flags, save):
    "Test one notebook in this process and print what ran and what did not."
    import nbdev.test
    from nbdev.config import get_config

    flagged, ran, code = [], [], []

    class TellingShell(nbdev.test.CaptureShell):
        def run_all(self, nb, preproc, **kwargs):
            code.extend(cell for cell in nb.cells if cell.cell_type == "code")

            def passed_over(cell):
                verdict = preproc(cell)
                if isinstance(verdict, set) and verdict:
                    flagged.append((cell, verdict))
                elif not verdict:
                    ran.append(cell)
                    cell.outputs = []  # the kept ones are of an earlier run
                return verdict

            try:
                super().run_all(nb, preproc=passed_over, **kwargs)
            finally:
                if save:
                    keep_outputs(path, ran, save)
                print(f"{len(ran)} cells")
                for cell, names in flagged:
                    print(f"  passed over (flag {', '.join(sorted(names))}): cell {cell.idx_ + 1}: {first_line(cell)}")
                for line in printed(ran):
                    if line.startswith("skipped:"):
                        print("  " + line)

    nbdev.test.CaptureShell = TellingShell
    passed, _ = nbdev.test.test_nb(
        path, skip_flags=get_config().tst_flags.split(), force_flags=flags.split(), basepath=ROOT
    )
    return passed and bool(ran or not code)  # where nothing ran, nothing was tested


def keep_outputs(path, cells, folder):
    "Write what the cells that ran have put out: cell id -> outputs, one file per notebook."
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = Path(folder) / f"{path.relative_to(ROOT).as_posix().replace('/', '--')}.json"
    file.write_text(json.dumps({cell.id: [dict(output) for output in cell.outputs] for cell in cells}, default=str))


def first_line(cell):
    "The first line of a cell that is neither empty nor a directive."
    return next((line for line in cell.source.splitlines() if line.strip() and not line.startswith("#|")), "")


def printed(cells):
    "All lines that the cells printed."
    outputs = [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "stream"]
    return [line.rstrip() for output in outputs for line in "".join(output["text"]).splitlines()]


def run_apart(path, flags, save, environment):
    "Test one notebook in a process of its own: whether it passed, seconds, its report."
    command = [sys.executable, __file__, "--here", str(path), "--flags", flags] + (["--save", save] if save else [])
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT
        )
        passed, report = done.returncode == 0, done.stdout + ("" if done.returncode == 0 else done.stderr)
    except subprocess.TimeoutExpired:
        passed, report = False, f"ended after {LIMIT} s"
    return passed, time.perf_counter() - start, report.strip() or "no code"


def find_notebooks(paths):
    "The notebooks to test, as absolute paths; all of nbs/ when none is named."
    if paths:
        return [Path(path).resolve() for path in paths]
    found = (ROOT / "nbs").rglob("*.ipynb")
    return sorted(path for path in found if not any(part[0] in "._" for part in path.relative_to(ROOT).parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", help="notebooks to test (all of them)")
    parser.add_argument("--flags", default="", help="flags whose cells run too: slow weights cuda data")
    parser.add_argument("--save", default=os.environ.get("FREESEGDIFF_OUTPUTS", ""), help="folder for the new outputs of all cells")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 4), help="notebooks tested at a time")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        sys.exit(not run_here(args.here, args.flags, args.save))

    threads = max(1, (os.cpu_count() or 1) // args.workers)
    environment = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", **os.environ}
    if "weights" not in args.flags.split():
        environment["HF_HUB_OFFLINE"] = "1"
    notebooks, start, failed = find_notebooks(args.notebooks), time.perf_counter(), 0
    with ThreadPoolExecutor(args.workers) as pool:
        jobs = {pool.submit(run_apart, path, args.flags, args.save, environment): path for path in notebooks}
        for job in as_completed(jobs):
            passed, seconds, report = job.result()
            failed += not passed
            name = jobs[job].relative_to(ROOT).with_suffix("")
            print(f"{'ok  ' if passed else 'FAIL'} {name!s:32} {seconds:6.1f} s  {report}", flush=True)
    print(f"{time.perf_counter() - start:.0f} s in all; counted are notebooks")
    print(f"{len(notebooks) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not notebooks)


if __name__ == "__main__":
    main()
