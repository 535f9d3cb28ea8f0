"""Measure runs on Ray: one and two workers, and what Ray itself costs.

    python benchmarks/distributed.py                    # 40 images, then 100,000 rows
    python benchmarks/distributed.py --images 16 --rows 20000

The first part segments images with the networks of `mini` at 384 pixels, with one worker of one thread and with two. It
counts the images that end while all workers are busy, so loading and the end of the run are excluded. The second part
runs work that returns at once, and reads the memory of the driver before and after. Two free cores are needed: other
programs on them spoil the ratio, which the printed processor time per image shows.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL"):  # one thread per worker
    os.environ[f"{library}_NUM_THREADS"] = "1"

from freesegdiff.distributed import ask_settings, connect, finish_rows, map_jobs, Pool
from freesegdiff.export import list_endings
from freesegdiff.presets import get_preset
from freesegdiff.records import hash_settings
from freesegdiff.runs import Job, Ledger, open_ledger
from freesegdiff.stickers import make_scene
from freesegdiff.workers import Segmenter


class Timed(Segmenter):
    "Segments images, and says when."

    def __call__(self, jobs):
        for job in jobs:
            start, busy = time.time(), time.process_time()
            for row in super().__call__([job]):
                yield row | {"start": start, "end": time.time(), "busy": time.process_time() - busy}


class Instant:
    "Work that takes no time."

    def __init__(self, out):
        self.settings = {}
        self.ledger = Ledger(Path(out), hash_settings({}))

    def __call__(self, jobs):
        for job in jobs:
            yield {"id": job.id, "error": None}


def measure_workers(ray, images, count, out):
    "Images per second while all workers are busy, and processor seconds per image."
    task = {"preset": get_preset("mini", size=384), "out": str(out), "formats": ["json"], "batch_size": 1, "device": "cpu"}
    pool = Pool(count, 1, 0, count)
    ledger = open_ledger(out, ask_settings(ray, Timed, task, pool))
    jobs = ledger.plan(images, list_endings(["json"])).pending
    worker = {"kind": Timed, "task": task, "settings": ledger.settings, "threads": 1}
    rows = [row for row in finish_rows(map_jobs(ray, worker, jobs, {}, pool, 1), jobs)]
    times = {}
    for row in rows:
        times.setdefault(row["worker"], []).append((row["start"], row["end"]))
    first, last = max(min(t)[0] for t in times.values()), min(max(t)[1] for t in times.values())
    done = sum(first < row["end"] <= last for row in rows)
    return len(times), done / (last - first), sum(row["busy"] for row in rows) / len(rows)


def measure_rows(ray, count, out):
    "Rows per second of work that takes no time, and what the driver's memory grew by, MB."
    jobs = [Job(f"{i}.jpg", f"{i}.jpg", f"{i:016x}", "1-1", f"{i}") for i in range(count)]
    ledger, start = open_ledger(out, {}), None
    worker = {"kind": Instant, "task": {"out": str(out)}, "settings": ledger.settings, "threads": 1}
    before = 0
    for done, row in enumerate(finish_rows(map_jobs(ray, worker, jobs, {}, Pool(2, 1, 0, 2), 8), jobs), 1):
        if start is None:
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return (done - 1) / (time.perf_counter() - start), grown / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, connect() as ray:
        folder = Path(name)
        images = [folder / f"{i:03}.png" for i in range(options.images)]
        for i, path in enumerate(images):
            make_scene(i, "dev").image.resize((384, 384)).save(path)
        rates = []
        for count in (1, 2):
            used, rate, busy = measure_workers(ray, images[: options.images * count // 2], count, folder / f"run{count}")
            rates.append(rate)
            print(f"{used} workers: {rate:.2f} images/s, {busy:.2f} s of processor time per image", flush=True)
        print(f"ratio {rates[1] / rates[0]:.2f}", flush=True)
        rate, grown = measure_rows(ray, options.rows, folder / "rows")
        print(f"work that takes no time: {rate:,.0f} images/s, the driver's memory grew by {grown:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
