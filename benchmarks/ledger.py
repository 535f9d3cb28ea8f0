"""Measure the ledger: listing, planning and resuming a run of many images.

    python benchmarks/ledger.py            # 100,000 images, four result files each
    python benchmarks/ledger.py 20000

It makes empty images and small result files in a temporary folder, once with different stems and once with one stem in
different folders, and times the first plan and the resumed one. No model is loaded.
"""

import argparse
import tempfile
import time
from pathlib import Path

from freesegdiff.export import list_endings
from freesegdiff.image import find_images
from freesegdiff.records import check_files, Record
from freesegdiff.runs import open_ledger

ENDINGS = list_endings(("png", "json"))


def make_images(folder, count, is_flat):
    "Make empty files, in one folder or in one folder each."
    paths = [folder / (f"{i:06d}.jpg" if is_flat else f"{i:06d}/x.jpg") for i in range(count)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def finish(ledger, jobs, out):
    "Write small results and their records, as a finished run has them."
    check = check_files([(ending, 3) for ending in ENDINGS])
    for job in jobs:
        for ending in ENDINGS:
            (out / f"{job.stem}{ending}").write_bytes(b"123")
        path = Record(job.key, ledger.settings, job.stamp, job.number, check).path(out)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")


def measure(folder, count, is_flat):
    "Time listing, the first plan, and the resumed one."
    paths, out, seconds = make_images(folder / "images", count, is_flat), folder / "out", {}
    for name in ("first", "resumed"):
        start = time.perf_counter()
        images = find_images(folder / "images") if is_flat else paths
        found, busy = time.perf_counter(), time.process_time()
        ledger = open_ledger(out, {})
        plan = ledger.plan(images, ENDINGS)
        seconds[name] = (found - start, time.perf_counter() - found, time.process_time() - busy)
        if name == "first":
            finish(ledger, plan.jobs, out)
    assert plan.counts["done"] == count, plan.line()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    count = parser.parse_args().count
    for title, is_flat in (("different stems", True), ("one stem", False)):
        with tempfile.TemporaryDirectory() as name:
            for run, (listing, planning, busy) in measure(Path(name), count, is_flat).items():
                times = f"listing {listing:.2f} s, planning {planning:.2f} s (of the processor {busy:.2f} s)"
                print(f"{count:,} images, {title}, {run} run: {times}")


if __name__ == "__main__":
    main()
