"""Read thousands of damaged files and odd texts; the last line counts cases: `N passed, M failed`.

    python .github/scripts/fuzz.py                              # about 5 minutes on two cores, as CI does
    python .github/scripts/fuzz.py --kind images --count 10000  # a long run of one kind
    python .github/scripts/fuzz.py --kind images --case 123     # one case, with its traceback
    python .github/scripts/fuzz.py --keep DIR                   # keep the files of failed cases

A case passes if the package returns a result, or raises one `FreeSegDiffError` of one line that names the file. It fails
with any other exception, a crash, more than 20 seconds or 1.5 GB, a file written outside of its folder, a connection, or
a program that is started. Cases depend on the seed and their number alone. A worker process runs the cases of a kind;
where it dies, the next worker goes on with the next case.
"""

import argparse
import faulthandler
import itertools
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS, MEGABYTES, LENGTH, CHUNK = 20, 1500, 1010, 100  # limits of a case; length of a message; examples per seed
FORBIDDEN = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.spawn", "socket.connect", "socket.getaddrinfo")
OUTCOMES = ("read", "refused", "raw", "crash", "hang")


class Violation(Exception):
    "Something that a case must not do."


# ---- the worker


class Watch:
    "An audit hook that forbids programs, connections, and files written outside of the case's folder."

    def __init__(self):
        self.folder = None
        sys.addaudithook(self.check)

    def check(self, event, args):
        if self.folder is None:
            return
        if event in FORBIDDEN:
            raise Violation(f"{event} {str(args)[:200]}")
        if event == "open" and isinstance(args[0], str | bytes) and isinstance(args[2], int):
            path = os.path.realpath(os.fsdecode(args[0]))
            if args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not path.startswith((self.folder, "/dev/null")):
                raise Violation(f"writes {path}")


def peak_megabytes():
    "Peak memory since it was last reset (Linux)."
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1000
    except OSError:
        return 0


def reset_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def judge(call, path, escape_text):
    "Run a case: its outcome and what is wrong with it."
    from freesegdiff.core import FreeSegDiffError

    try:
        call()
        return "read", ""
    except FreeSegDiffError as error:
        text = str(error)
        wrong = [name for name, bad in {"lines": not text.isprintable(), "length": len(text) > LENGTH, "empty": not text}.items() if bad]
        if path is not None and escape_text(Path(path).name) not in text:
            wrong.append("no file name")
        return "refused", f"message ({', '.join(wrong)}): {text[:300]}" if wrong else ""
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if "freesegdiff" in frame.filename and "scripts" not in frame.filename]
        place = own[-1] if own else where
        return "raw", f"{type(error).__name__}: {str(error)[:150]} ({Path(place.filename).name}:{place.lineno} {place.name})"


def make_cases(kind, seed, start):
    "Give the number, the random generator and the text of each case."
    import fuzz_cases

    if kind not in fuzz_cases.TEXTS:
        for n in itertools.count(start):
            yield n, random.Random(f"{seed}-{kind}-{n}"), n
        return
    import hypothesis

    strategy = fuzz_cases._strategies()[kind]
    for chunk in itertools.count(start // CHUNK):
        values = []

        def collect(value):
            values.append(value)

        settings = hypothesis.settings(
            max_examples=CHUNK, phases=[hypothesis.Phase.generate], database=None, deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        hypothesis.seed(1000 * seed + chunk)(settings(hypothesis.given(strategy)(collect)))()
        for n, value in enumerate(values, chunk * CHUNK):
            if n >= start:
                yield n, random.Random(f"{seed}-{kind}-{n}"), value


def work(kind, seed, start, count, seconds, keep, single):
    "Run the cases of a kind, and print what happens."
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # libraries may print
    import fuzz_cases
    from freesegdiff.core import escape_text

    make = fuzz_cases.KINDS[kind][0]
    root = Path(tempfile.mkdtemp(prefix="fuzz-", dir=os.environ["FUZZ_ROOT"])).resolve()
    os.environ["TMPDIR"] = str(root)
    tempfile.tempdir = str(root)
    watch, end = Watch(), time.monotonic() + seconds
    if kind in ("models", "presets"):
        import freesegdiff.backbones, freesegdiff.caption, freesegdiff.pipeline  # noqa: E401, F401
    if kind == "models":
        fuzz_cases._models()
    for n in range(10):  # imports, and data that are loaded once
        folder = root / f"warm-{n}"
        folder.mkdir()
        judge(make("a cat" if kind in fuzz_cases.TEXTS else n, random.Random(n), folder)[1], None, escape_text)
    warnings.simplefilter("ignore")
    for n, rng, value in make_cases(kind, seed, start):
        if n >= count or time.monotonic() > end:
            break
        folder = root / str(n)
        folder.mkdir()
        label, call, path = make(value, rng, folder)
        print(json.dumps({"start": n, "label": label}), file=output)
        reset_peak()
        before, begin = peak_megabytes(), time.monotonic()
        faulthandler.dump_traceback_later(SECONDS + 1, exit=True)
        watch.folder = str(root)
        try:
            outcome, wrong = judge(call, path, escape_text)
        finally:
            watch.folder = None
            faulthandler.cancel_dump_traceback_later()
        took, memory = time.monotonic() - begin, peak_megabytes() - before
        if memory > MEGABYTES:
            wrong = f"{memory:.0f} MB of memory"
        if outcome == "raw" or wrong:
            if keep:
                shutil.copytree(folder, Path(keep) / f"{kind}-{n}", dirs_exist_ok=True, symlinks=True)
        if single and outcome != "read":
            traceback.print_exc()
            try:
                call()
            except BaseException:
                traceback.print_exc()
        shutil.rmtree(folder, ignore_errors=True)
        line = {"end": n, "label": label, "outcome": outcome, "wrong": wrong, "memory": memory, "seconds": took}
        print(json.dumps(line), file=output)
    shutil.rmtree(root, ignore_errors=True)


# ---- the watch over the workers


def read_lines(stream, lines):
    for line in stream:
        lines.put(line)
    lines.put(None)


def run_worker(arguments, start, log):
    "Run one worker from a case on: its results, and the case to go on with (None: all are done)."
    command = [sys.executable, __file__, *arguments, "--start", str(start)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8")
    lines, current, results = queue.Queue(), None, []
    threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=120 if current is None else SECONDS + 5)
        except queue.Empty:
            process.kill()
            line = None
        if line is None:
            break
        item = json.loads(line)
        current = item if "start" in item else None
        if "end" in item:
            results.append(item)
    code = process.wait()
    if current is None:
        if code:
            results.append({"end": start, "label": "worker", "outcome": "crash", "wrong": f"exit {code}", "memory": 0, "seconds": 0})
        return results, None
    is_hang = code in (1, -signal.SIGKILL)  # faulthandler ends with 1
    wrong = f"more than {SECONDS} s" if is_hang else f"exit {code}"
    outcome = "hang" if is_hang else "crash"
    results.append({"end": current["start"], "label": current["label"], "outcome": outcome, "wrong": wrong, "memory": 0, "seconds": SECONDS})
    return results, current["start"] + 1


def run_kind(kind, args, seconds, root):
    "Run all cases of a kind, in as many workers as it takes."
    end, start, results = time.monotonic() + seconds, 0, []
    with open(Path(root) / f"{kind}.log", "w+") as log:
        while start is not None and time.monotonic() < end:
            arguments = ["--worker", kind, "--seed", str(args.seed), "--count", str(args.count), "--seconds", str(end - time.monotonic())]
            found, start = run_worker([*arguments, "--keep", args.keep or ""], start, log)
            results += found
        log.seek(0)
        tail = log.read()[-3000:] if any(item["outcome"] in ("crash", "hang") for item in results) else ""
    return kind, results, tail


def print_table(rows):
    heads = ("cases", "read", "refused", "raw", "wrong", "crashes", "hangs", "peak MB", "slowest s")
    print(f"{'kind':12}" + "".join(f"{head:>11}" for head in heads) + "  slowest case")
    for kind, results in rows:
        counts = Counter(item["outcome"] for item in results)
        wrong = sum(bool(item["wrong"]) for item in results if item["outcome"] in ("read", "refused"))
        peak = max((item["memory"] for item in results), default=0)
        slowest = max(results, key=lambda item: item["seconds"], default={"seconds": 0, "end": "", "label": ""})
        numbers = [len(results), counts["read"], counts["refused"], counts["raw"], wrong, counts["crash"], counts["hang"]]
        figures = "".join(f"{number:11}" for number in numbers) + f"{peak:11.0f}{slowest['seconds']:11.1f}"
        print(f"{kind:12}{figures}  {slowest['end']} ({slowest['label']})")


def main():
    import fuzz_cases

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", nargs="+", choices=fuzz_cases.KINDS, default=list(fuzz_cases.KINDS))
    parser.add_argument("--seconds", type=float, default=None, help="time for all kinds together (default: 280, or none with --count)")
    parser.add_argument("--count", type=int, default=10**9, help="maximum number of cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="worker processes at a time")
    parser.add_argument("--keep", default=None, help="folder for the files of failed cases")
    parser.add_argument("--case", type=int, default=None, help="run one case and show its traceback")
    parser.add_argument("--worker", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args.worker, args.seed, args.start, args.count, args.seconds, args.keep, False)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as root:
        os.environ |= {"FUZZ_ROOT": root, "FUZZ_MODELS": str(Path(root) / "models"), "PYTHONDONTWRITEBYTECODE": "1"}
        os.environ |= {"HF_HOME": str(Path(root) / "hub"), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        if args.case is not None:
            return work(args.kind[0], args.seed, args.case, args.case + 1, 10**9, args.keep, True)
        seconds = args.seconds or (280 if args.count == 10**9 else 10**9)
        weights = {kind: fuzz_cases.KINDS[kind][1] for kind in args.kind}
        share = {kind: seconds * min(1, args.jobs * weight / sum(weights.values())) for kind, weight in weights.items()}
        order = sorted(args.kind, key=lambda kind: -weights[kind])
        with ThreadPoolExecutor(args.jobs) as pool:
            done = dict((kind, (results, tail)) for kind, results, tail in pool.map(lambda kind: run_kind(kind, args, share[kind], root), order))
    rows = [(kind, done[kind][0]) for kind in args.kind]
    failed = [(kind, item) for kind, results in rows for item in results if item["outcome"] not in ("read", "refused") or item["wrong"]]
    for (kind, _), group in itertools.groupby(failed, lambda pair: (pair[0], pair[1]["wrong"].split(" (")[-1])):
        first, *rest = group
        print(f"FAIL {kind} {first[1]['end']} ({first[1]['label']}): {first[1]['outcome']}: {first[1]['wrong']}{f', and {len(rest)} more' if rest else ''}")
    for kind in args.kind:
        if done[kind][1]:
            print(f"-- the workers of {kind} --\n{done[kind][1]}")
    print_table(rows)
    total = sum(len(results) for _, results in rows)
    print(f"{total - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
