"""Write README.md from nbs/index.ipynb. This is the only generator: nbdev's own needs Quarto, and differs with its version.

Markdown cells are taken as they are, code cells become fenced blocks followed by their text outputs;
`#| hide` and `#| echo: false` mean what they mean on the site. Links relative to nbs/ become relative to the project.
"""

import json
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INDEX, README = ROOT / "nbs/index.ipynb", ROOT / "README.md"
FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()(?![a-z]+:|[#/])([^)\s]+)")


def from_root(markdown):
    "Rewrite links relative to nbs/, outside fenced code."
    parts = FENCED.split(markdown)
    parts[::2] = [LINK.sub(lambda m: m[1] + posixpath.normpath("nbs/" + m[2]), part) for part in parts[::2]]
    return "".join(parts)


def output_text(output):
    "The text of one output; a image is refused, since README.md could not show it."
    if output["output_type"] == "stream":
        return "".join(output["text"])
    data = output.get("data", {})
    if any(kind.startswith("image/") for kind in data):
        raise SystemExit("nbs/index.ipynb keeps a image output. Save it under nbs/images/ and link it from a markdown cell.")
    return "".join(data.get("text/plain", ""))


def code_blocks(cell):
    "A code cell as markdown blocks: its source, then its outputs."
    lines = "".join(cell["source"]).splitlines()
    directives = {line.replace(" ", "") for line in lines if line.startswith("#|")}
    if "#|hide" in directives:
        return []
    source = "\n".join(line for line in lines if not line.startswith("#|")).strip()
    output = "".join(map(output_text, cell.get("outputs", []))).rstrip()
    blocks = [] if "#|echo:false" in directives else [f"```python\n{source}\n```"]
    return blocks + ([f"```text\n{output}\n```"] if output else [])


def readme():
    "The text that README.md must have."
    blocks = []
    for cell in json.loads(INDEX.read_text(encoding="utf-8"))["cells"]:
        markdown = cell["cell_type"] == "markdown"
        blocks += [from_root("".join(cell["source"]).strip())] if markdown else code_blocks(cell)
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
