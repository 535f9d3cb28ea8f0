"""Kill `segment` and `evaluate` at random moments, resume, and compare with a run that was not interrupted.

    python .github/scripts/kills.py         # 12 kills, about a minute
    python .github/scripts/kills.py 200     # the whole measurement

The bundled models are loaded once; each run is a forked process. A run is ended by SIGKILL, SIGTERM or SIGINT, either at
a random time or when it opens, renames or removes a file for the n-th time, and one run in four is ended twice. Then it
is resumed. Masks, words, captions and records must be those of a run without interruption, less the seconds; with
batches, whose composition depends on the moment of the kill, at least 99.9 % of the pixels. No draft, no claim and no
other file may be left. The last line counts kills: `N passed, M failed`.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL"):  # small matrices: threads only wait for each other
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np
from PIL import Image

from freesegdiff.cli import main as run_command
from freesegdiff.datasets import load_dataset
from freesegdiff.evaluate import evaluate
from freesegdiff.image import list_samples
from freesegdiff.pipeline import FreeSegDiff
from freesegdiff.predictions import load_prediction
from freesegdiff.records import read_records
from freesegdiff.vocabulary import extract_nouns

EVENTS = ("open", "os.rename", "os.remove")  # of sys.addaudithook
KINDS = [(what, batch) for what in ("segment", "evaluate") for batch in (1, 8)]


def make_images(folder, count):
    "Write small images of four stems in two folders, one of which is broken."
    photos = [Image.open(path).convert("RGB") for path in list_samples().values()]
    for i in range(count):
        path = folder / "ab"[i % 2] / f"x{i // 2}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        photos[i % len(photos)].rotate(7 * i).save(path)
    (folder / "a/broken.png").write_bytes(b"no image")
    return folder


def run(what, batch, pipe, images, scenes, out):
    "One run, in a process of its own."
    if what == "evaluate":
        evaluate(pipe, scenes, out, batch_size=batch)
        return
    FreeSegDiff.from_preset = classmethod(lambda *args, **options: pipe)
    run_command(["segment", str(images / "a"), str(images / "b"), "--preset", "mini", "--out", str(out), "--batch-size", str(batch)])


def watch(out, end_at, number):
    "Count the file operations below the folder; at the given one, end this process."
    count = 0

    def look(event, args):
        nonlocal count
        if event in EVENTS and args and str(out) in str(args[0]):
            count += 1
            if count == end_at:
                os.kill(os.getpid(), number)

    sys.addaudithook(look)
    return lambda: count


def start(job, end_at=None, number=signal.SIGKILL, report=None):
    "Fork a run; return its process."
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        count = watch(job[-1], end_at, number)
        run(*job)
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except KeyboardInterrupt:
        code = 130
    finally:
        if report:
            report.write_text(str(count()))
        os._exit(code if isinstance(code, int) else 1)


def finish(process, limit=300):
    "Wait for a process; a run that hangs is an error."
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError(f"a run took more than {limit} s")


def list_files(out):
    "Files of a run folder without the hashes in the records' names."
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.name != "last.json" and len(path.suffixes) < 5)


def read_state(out):
    "What must not depend on interruptions: files, maps, and records without seconds and sizes of JSON files."
    state = {"files": list_files(out), "records": []}
    for row in read_records(out):
        for key in ("seconds", "check"):
            is_done = row["check"] not in ("failed", "claim")
            row[key] = is_done if key == "check" else None
        row["files"] = sorted(row.get("files", {}))
        row["attempts"] = row["attempts"] if row["check"] else None
        state["records"].append(row)
    maps = [(path, np.asarray(Image.open(path))) for path in out.glob("*.png") if "overlay" not in path.name]
    predictions = [(path, load_prediction(path)) for path in out.glob("predictions/*.npz")]
    state["maps"] = {path.name: values for path, values in maps} | {p.name: one.labels for p, one in predictions}
    texts = {path.name: json.loads(path.read_text()) for path in out.glob("*.json") if path.name != "last.json"}
    state["texts"] = {name: {**row, "seconds": None} for name, row in texts.items()}
    state["words"] = {path.name: (one.words, one.caption, one.classes) for path, one in predictions}
    return state


def show_difference(one, other):
    "Describe where two nested values differ first."
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next(f"{key}: {show_difference(one[key], other[key])}" for key in one if one[key] != other[key])
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next(show_difference(a, b) for a, b in zip(one, other) if a != b)
    return f"{one!r:.200} and {other!r:.200}"


def compare(state, expected, batch):
    "Describe the first difference; an empty text means none."
    for part in ("files", "words") if batch > 1 else ("files", "words", "records", "texts"):
        if state[part] != expected[part]:
            return f"{part} differ: {show_difference(state[part], expected[part])}"
    if batch > 1:
        exact = ("id", "stem", "settings", "stamp", "number", "check", "attempts", "files", "caption", "reason")
        rows = [[{key: row.get(key) for key in exact} for row in s["records"]] for s in (state, expected)]
        if rows[0] != rows[1]:
            return f"records differ: {show_difference(*rows)}"
    for name, values in expected["maps"].items():
        share = np.mean(state["maps"][name] == values) if state["maps"][name].shape == values.shape else 0
        if share < (1 if batch == 1 else 0.999):
            return f"{name}: {100 * share:.2f} % of the pixels are equal"
    return ""


def end_run(job, chance, seconds, events):
    "Start a run and end it at a random moment; return how."
    number = chance.choices((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), (8, 1, 1))[0]
    if chance.random() < 0.5:
        code = finish(start(job, chance.randint(1, events), number))
        return number, code
    process = start(job)
    time.sleep(chance.uniform(0, 1.05 * seconds))
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
    return number, finish(process)


def measure(job, folder, pipe, images, scenes):
    "Run without interruption: what comes out, how long it takes, and the number of file operations."
    out, begin = folder / "calm", time.monotonic()
    code = finish(start((*job, pipe, images, scenes, out), report=folder / "events"))
    assert code == (1 if job[0] == "segment" else 0), f"{job} ended with {code} without a kill"
    return read_state(out), time.monotonic() - begin, int((folder / "events").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int, nargs="?", default=12)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, failed, kills = random.Random(options.seed), [], 0
    extract_nouns("a cat on the grass")  # loads the tagger before the first fork
    pipe, scenes = FreeSegDiff.from_preset("mini", device="cpu"), load_dataset("stickers-unseen", limit=options.images)
    with tempfile.TemporaryDirectory() as name:
        images = make_images(Path(name) / "images", options.images)
        calm, counts = {}, {}
        for job in KINDS:
            folder = Path(name) / f"{job[0]}{job[1]}"
            folder.mkdir()
            calm[job] = measure(job, folder, pipe, images, scenes)
            print(f"{job[0]}, batch {job[1]}: {calm[job][1]:.1f} s, {calm[job][2]} file operations", flush=True)
        while kills < options.kills:
            job = KINDS[kills % len(KINDS)]
            expected, seconds, events = calm[job]
            out, ends = Path(name) / f"trial-{kills}", []
            for _ in range(2 if chance.random() < 0.25 else 1):
                ends.append(end_run((*job, pipe, images, scenes, out), chance, seconds, events))
                kills += 1
            code = finish(start((*job, pipe, images, scenes, out)))
            problem = compare(read_state(out), expected, job[1])
            is_right = code == (1 if job[0] == "segment" else 0) and not problem
            for number, ended in ends:
                row = counts.setdefault((*job, signal.Signals(number).name), [0, 0, 0])
                row[0], row[1], row[2] = row[0] + 1, row[1] + (ended not in (0, 1)), row[2] + (not is_right)
            failed += [] if is_right else [f"trial {kills}, {job}, {ends}: exit code {code}; {problem}"]
            shutil.rmtree(out)
    print(f"\n{'run':10} {'batch':>5}  {'signal':8} {'kills':>5} {'ended early':>11} {'wrong':>5}")
    for (what, batch, number), (total, early, wrong) in sorted(counts.items()):
        print(f"{what:10} {batch:5}  {number:8} {total:5} {early:11} {wrong:5}")
    for line in failed:
        print("FAIL", line)
    wrong = sum(row[2] for row in counts.values())
    print(f"{kills - wrong} passed, {wrong} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
