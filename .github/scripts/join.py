"""Join what a cell printed into one output: the kernel splits it where it took a while, and pages show a gap there."""

import json

from readme import ROOT


def joined(outputs):
    "Outputs of a cell, with neighbours of one stream as one."
    kept = []
    for output in outputs:
        last = kept[-1] if kept else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            kept[-1] = {**last, "text": "".join([*last["text"], *output["text"]]).splitlines(keepends=True)}
        else:
            kept.append(output)
    return kept


def main():
    for path in ROOT.glob("nbs/**/*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        before = json.dumps(notebook)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"] = joined(cell["outputs"])
        if json.dumps(notebook) != before:
            path.write_text(json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
