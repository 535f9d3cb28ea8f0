"""Compare the outputs that the notebooks keep with those of a test run; the last line counts notebooks.

    python .github/scripts/test.py --save DIR && python .github/scripts/outputs.py DIR

Text must be equal, and numbers within 1 % or 0.00001: less is rounding, which depends on the processor. Lines with
times or memory are exempt, and so are cells that skipped something, cells without output in a notebook that did, and
notebooks that measure fewer scenes when they are tested (those that read IN_TEST).
"""

import json
import re
import sys
from pathlib import Path

from readme import ROOT

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
EXEMPT = re.compile(r"\b(s|ms|min|minutes?|seconds?|[KMG]i?B)\b|images/s|0x[0-9a-f]{4}|warning|skipped:", re.IGNORECASE)
TOLERANCE, ROUNDING = 0.01, 1e-5


def lines_of(outputs):
    "The lines of text of a cell's outputs, without standard error, figures and exempt lines."
    texts = []
    for output in outputs:
        if output["output_type"] == "stream" and output.get("name") == "stdout":
            texts.append(output["text"])
        elif output["output_type"] == "execute_result":
            texts.append(output.get("data", {}).get("text/plain", ""))
    lines = "\n".join("".join(text).rstrip() for text in texts).splitlines()
    return [line.rstrip() for line in lines if line.strip() and not EXEMPT.search(line) and not line.startswith("<Figure")]


def differ(old, new):
    "Whether two lines differ in text, or in a number by more than 1 % and 0.00001."
    if NUMBER.sub("#", old).split() != NUMBER.sub("#", new).split():
        return True
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new))
    numbers = [tuple(float(text.replace(",", "")) for text in pair) for pair in pairs]
    return any(abs(a - b) > TOLERANCE * max(abs(a), abs(b)) + ROUNDING for a, b in numbers)


def complaints(path, new):
    "The cells of one notebook whose kept output is not the new one."
    wrong, skips = [], "skipped:" in json.dumps(new)
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], 1):
        if cell["cell_type"] != "code" or cell["id"] not in new:
            continue
        fresh = new[cell["id"]]
        if "skipped:" in json.dumps([fresh, cell["outputs"]]):
            continue
        old_lines, new_lines = lines_of(cell["outputs"]), lines_of(fresh)
        if skips and not new_lines:
            continue  # it needs what the notebook said is not installed
        pairs = [(a, b) for a, b in zip(old_lines, new_lines) if differ(a, b)]
        if len(old_lines) != len(new_lines) or pairs:
            old, other = pairs[0] if pairs else (f"{len(old_lines)} lines", f"{len(new_lines)} lines")
            wrong.append(f"cell {number}: {old[:90]!r} is now {other[:90]!r}")
    return wrong


def main():
    folder, failed, count = Path(sys.argv[1]), 0, 0
    for file in sorted(folder.glob("*.json")):
        path = ROOT / file.stem.replace("--", "/")
        if "IN_TEST" in path.read_text(encoding="utf-8"):
            print("     ", path.relative_to(ROOT), "measures fewer scenes when tested: not compared")
            continue
        wrong = complaints(path, json.loads(file.read_text(encoding="utf-8")))
        count, failed = count + 1, failed + bool(wrong)
        print("FAIL" if wrong else "ok  ", path.relative_to(ROOT), *wrong, sep="\n       " if wrong else " ", flush=True)
    print(f"{count - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not count)


if __name__ == "__main__":
    main()
