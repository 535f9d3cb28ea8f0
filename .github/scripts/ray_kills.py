"""Kill workers, machines and drivers of runs on Ray, resume, and compare with a run in one process.

    python .github/scripts/ray_kills.py         # 3 kills: one of each kind, a few minutes
    python .github/scripts/ray_kills.py 30      # the whole measurement

One head serves all runs; two nodes of one core each come and go. A run is `freesegdiff segment --workers 2` with the
bundled models. At a random moment a worker, a node or the driver gets SIGKILL. The driver is started again; the others
recover by themselves. Masks, words, captions and records must be those of one process with one thread and batches of
one image, less the seconds. No image that had a whole record is computed again, and at most the images in flight are:
both are counted. No draft, no attempt and no process may be left. Before the kills come a run without one, an image
that kills its worker, a full disk and models that cannot be loaded. The last line: `N passed, M failed`.

Ray gives up if its daemons take more than half a minute to start. They get two attempts, then the script prints
`skipped: ...` with the reason and ends with exit code 0.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL"):  # one thread, as in the workers
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_BACKEND_LOG_LEVEL": "fatal", "HF_HUB_OFFLINE": "1"}

from kills import compare, make_images, read_state

from freesegdiff.core import FreeSegDiffError
from freesegdiff.datasets import load_dataset
from freesegdiff.distributed import evaluate_many, run_many
from freesegdiff.evaluate import evaluate
from freesegdiff.export import list_endings
from freesegdiff.pipeline import FreeSegDiff
from freesegdiff.presets import get_preset
from freesegdiff.records import list_records, read_records
from freesegdiff.runs import open_ledger
from freesegdiff.workers import list_attempts, read_attempts, Segmenter

KINDS = ("worker", "node", "driver")
PROGRAM = "import sys; from freesegdiff.cli import main; main()"


def start_cluster():
    "Start a head without cores and two nodes, or return None where Ray is too slow to start."
    from ray.cluster_utils import Cluster

    for attempt in range(2):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=0, include_dashboard=False, object_store_memory=100 * 2**20)
            for _ in range(2):
                add_node(cluster)
            return cluster
        except Exception as error:  # Ray raises bare exceptions
            print(f"{'again' if attempt == 0 else 'skipped'}: Ray does not start: {str(error)[:200]}", flush=True)
            cluster.shutdown()
    return None


def add_node(cluster):
    "Add a machine of one core."
    return cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)


def list_processes():
    "Processes of this machine: number -> command line."
    lines = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return lines


def list_workers():
    "Actors that segment images."
    return [pid for pid, line in list_processes().items() if line.startswith("ray::MapWorker")]


def start_driver(cluster, images, out):
    "Start the command in a process of its own."
    args = ["segment", str(images / "a"), str(images / "b"), "--preset", "mini", "--out", str(out), "--batch-size", "1"]
    args += ["--workers", "2", "--address", cluster.address, "--device", "cpu"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *args], **pipes)


def finish(process, limit=600):
    "Wait for the command; return its exit code and output."
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        return -1, f"more than {limit} s: {output}"
    return process.returncode, output


def list_done(out):
    "Records of results: file -> time of writing."
    records = [record for records in list_records(out).values() for record in records if record.is_done]
    times = {}
    for record in records:
        with contextlib.suppress(OSError):
            times[record.path(out)] = record.path(out).stat().st_mtime_ns
    return times


def wait_for(condition, limit):
    "Wait until a condition holds; return whether it does."
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def kill(kind, cluster, process, chance):
    "Kill one part of a run."
    if kind == "driver":
        process.kill()
    elif kind == "node":
        cluster.remove_node(chance.choice(cluster.list_all_nodes()[1:]), allow_graceful=False)
        add_node(cluster)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(list_workers()), signal.SIGKILL)


def try_kill(kind, cluster, images, out, chance, count):
    "Run, kill, resume; return the records before, the images in flight and the end of the run."
    process, number = start_driver(cluster, images, out), chance.randint(1, count - 2)
    begun = wait_for(lambda: list_workers() and len(list_done(out)) >= number, 300)
    time.sleep(chance.uniform(0, 0.5))
    before = list_done(out)
    kill(kind, cluster, process, chance)
    flight = read_attempts(*list_attempts(out))
    flight = {key for key in flight if key not in {path.name.split(".")[0] for path in before}}
    code, output = finish(process)
    if kind == "driver":
        wait_for(lambda: not list_workers(), 60)
        code, output = finish(start_driver(cluster, images, out))
    return before, flight, (code, output if begun else f"no result before the kill: {output}")


def judge(out, before, code, expected):
    "Describe what is wrong with a finished run; an empty text means nothing."
    if code != 1:  # one image is broken
        return f"exit code {code}"
    after = list_done(out)
    again = [path.name for path in before if after.get(path) != before[path]]
    if again:
        return f"{len(again)} images with a whole record were computed again"
    if not wait_for(lambda: not list_workers(), 60):
        return "a worker is left"
    return compare(read_state(out), expected, 1)


class Deadly(Segmenter):
    "Segments images, but dies at one of them."

    def __call__(self, jobs):
        for job in jobs:
            if job.stem == "x1":
                os.kill(os.getpid(), signal.SIGSEGV)
            yield from super().__call__([job])


def check_poison(cluster, images, out):
    "An image that kills its worker is given up by name, and costs nothing else."
    task = {"preset": get_preset("mini"), "out": str(out), "formats": ["json"], "batch_size": 1, "device": "cpu"}
    files = sorted((images / "a").glob("x*.png"))

    def begin(settings):
        ledger = open_ledger(out, settings)
        return ledger, ledger.plan(files, list_endings(["json"]))

    rows = {row["id"]: row["error"] for row in run_many(Deadly, task, begin, 2, cluster.address)}
    failed = {name: error for name, error in rows.items() if error}
    reasons = [row.get("reason", "") for row in read_records(out) if row["check"] == "failed"]
    right = list(failed) == ["x1.png"] and "3 times" in failed["x1.png"] and len(reasons) == 1 and len(rows) == len(files)
    return "" if right else f"{rows}"


def check_full_disk(cluster, images, out):
    "Images that do not fit are named, and nothing damaged is left; None where this system mounts no file system."
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(out)], capture_output=True).returncode:
        return None
    try:
        code, output = finish(start_driver(cluster, images, out / "run"))
        whole = all(json.loads(path.read_text()) for path in (out / "run").glob("*.json"))
        drafts = [path.name for path in out.rglob(".*.part*")]
        told = "disk is full" in output or "No space left" in output
        return "" if code in (1, 2) and told and whole and not drafts else f"{code}: {output}, {drafts}"
    finally:
        subprocess.run(["umount", str(out)])


def check_models(cluster, images, out):
    "A worker that cannot load its models ends the run at once, with the reason."
    task = {"preset": get_preset("mini", **{"extractor": {"model": str(out / "nowhere")}}), "out": str(out)}
    task |= {"formats": ["json"], "batch_size": 1, "device": "cpu"}
    try:
        list(run_many(Segmenter, task, None, 2, cluster.address))
    except FreeSegDiffError as error:
        return "" if "nowhere" in str(error) else str(error)
    return "no error"


def check_evaluation(cluster, images, out):
    "The predictions of a data set are those of one process."
    scenes = load_dataset("stickers-unseen", limit=4)
    evaluate_many("mini", scenes, out / "ray", 2, cluster.address, device="cpu", classes="dataset")
    evaluate(FreeSegDiff.from_preset("mini", device="cpu"), scenes, out / "calm", classes="dataset")
    return compare(read_state(out / "ray"), read_state(out / "calm"), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int, nargs="?", default=3)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cluster = start_cluster()
    if cluster is None:
        return 0
    chance, results, table = random.Random(options.seed), [], []
    with tempfile.TemporaryDirectory() as name:
        try:
            images, calm = make_images(Path(name) / "images", options.images), Path(name) / "calm"
            words = ["segment", str(images / "a"), str(images / "b"), "--preset", "mini", "--out", str(calm)]
            subprocess.run([sys.executable, "-c", PROGRAM, *words, "--batch-size", "1", "--quiet"], capture_output=True)
            expected = read_state(calm)
            code, output = finish(start_driver(cluster, images, Path(name) / "ray"))
            problem = judge(Path(name) / "ray", {}, code, expected)
            results.append(("equal to one process", problem and f"{problem}: {output}"))
            print(f"{results[-1][0]}: {results[-1][1] or 'passed'}", flush=True)
            for check in (check_evaluation, check_poison, check_full_disk, check_models):
                problem = check(cluster, images, Path(name) / check.__name__)
                if problem is None:
                    print(f"skipped: {check.__name__}: this system mounts no file system here", flush=True)
                    continue
                results.append((check.__name__, problem))
                print(f"{check.__name__}: {problem or 'passed'}", flush=True)
            for number in range(options.kills):
                kind, out = KINDS[number % len(KINDS)], Path(name) / f"kill{number}"
                before, flight, (code, output) = try_kill(kind, cluster, images, out, chance, options.images)
                problem = judge(out, before, code, expected)
                table.append((kind, len(before), len(flight)))
                results.append((f"kill {number}, {kind}", problem and f"{problem}: {output}"))
                line = f"{len(before)} done before, {len(flight)} in flight"
                print(f"{results[-1][0]}: {line}: {results[-1][1] or 'passed'}", flush=True)
        finally:
            cluster.shutdown()
    for kind in KINDS:
        rows = [row for row in table if row[0] == kind]
        if rows:
            done, flight = (sum(row[i] for row in rows) for i in (1, 2))
            print(f"{kind}: {len(rows)} kills, {done} images done before them, {flight} in flight")
    left = list_workers()
    results.append(("no process is left", f"processes {left}" if left else ""))
    failed = sum(bool(problem) for _, problem in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
