"""Make the documentation site in _docs/, with or without Quarto, then check it with pages.py; the last line counts checks.

    python .github/scripts/docs.py            # nbdev processes the notebooks, smalldocs makes the pages
    python .github/scripts/docs.py --quarto   # the same with Quarto, as on GitHub

Both make the pages from the same processed notebooks and the same `_quarto.yml`. nbdev's own commands do the work;
this script adds what they leave out: methods of classes, alt text of figures, and a search that finds chapters first.
Links to the repository appear where GITHUB_REPOSITORY (OWNER/NAME) says which one it is, as it does on GitHub.
"""

import argparse
import ast
import base64
import html
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from urllib.parse import unquote

import numpy as np
from PIL import Image

import pages
from pages import exported, NAME, REPOSITORY, SITE
from quarto import stand_in
from readme import FENCED, ROOT

PROCESSED = ROOT / "_proc"
CHART = 0.6  # share of white pixels from which on an image is a chart, and not one of images
REPOSITORY_LINKS = """
  repo-actions: [issue, source]
  repo-subdir: nbs
  navbar:
    tools:
      - icon: github
        href: https://github.com/{0}
        text: Source code
"""
COLAB = "[Open this page in Colab](https://colab.research.google.com/github/{0}/blob/main/nbs/tutorials/reproduce_it.ipynb)"
SIGNATURE = "signature in the chapter"  # so many words that a search ranks the name of a function below a chapter's title


def with_address(text):
    "Let the links that nbdev makes lead to this repository and its site; without an address there are no links to source code."
    from nbdev.config import get_config

    config = get_config()
    if not REPOSITORY:
        return re.sub(rf"\[source\]\({re.escape(config.git_url)}[^)]*\)(\{{[^}}]*\}})?", "", text)
    owner, _, name = REPOSITORY.partition("/")
    return text.replace(config.git_url, f"https://github.com/{REPOSITORY}").replace(f"{config.doc_host}{config.doc_baseurl}", f"https://{owner}.github.io/{name}")


def configure():
    "The same for the site's configuration that nbdev writes."
    path = PROCESSED / "nbdev.yml"
    lines = with_address(path.read_text(encoding="utf-8")).splitlines()
    kept = [line for line in lines if REPOSITORY or not re.match(r" *(repo-url|repo-branch|site-url):", line)]
    path.write_text("\n".join(kept) + (REPOSITORY_LINKS.format(REPOSITORY) if REPOSITORY else "\n"), encoding="utf-8")


def complete(path):
    "Add to one notebook that nbdev has processed what nbdev leaves out, and take out what does not belong on a page."
    notebook = json.loads(with_address(path.read_text(encoding="utf-8")))
    if REPOSITORY and path.stem == "reproduce_it":
        notebook["cells"].insert(1, {"cell_type": "markdown", "id": "colab", "metadata": {}, "source": COLAB.format(REPOSITORY)})
    module = NAME.sub("", path.stem)
    cells, section, sentence = [], "", ""
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = unlink(cell["source"], lambda link: not has_entry(link))
            section, sentence = read_on(cell["source"], section, sentence)
        outputs = cell["outputs"] = [output for output in cell.get("outputs", []) if "it/s]" not in json.dumps(output)]  # progress bars
        if cell["cell_type"] != "code":
            del cell["outputs"]
        elif any(kind.startswith("image/") for output in outputs for kind in output.get("data", {})) and "fig-alt:" not in cell["source"]:
            cell["source"] = f"#| fig-alt: {json.dumps(f'Figure in “{section or module}”. {sentence}', ensure_ascii=False)}\n{cell['source']}"
        cells += [cell, *method_cells(cell, module)]
    for cell in cells:
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):  # a signature; its defaults may name folders of this machine
                text = "".join(output["data"]["text/markdown"]).replace(f"{ROOT}/", "")
                output["data"]["text/markdown"] = FENCED.sub(lambda code: unlink(code[0], bool), unlink(text, lambda link: not has_entry(link)))
    path.write_text(json.dumps(notebook | {"cells": cells}, ensure_ascii=False), encoding="utf-8")


def read_on(markdown, section, sentence):
    "The heading and the last one or two sentences before a figure, as plain text, after one more markdown cell."
    for block in re.split(r"\n\s*\n", FENCED.sub("", markdown).strip()):
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"<[^>]*>|[`*$]|^> ", "", block, flags=re.MULTILINE))
        heading = re.match(r"#+ (.*)", text)
        text = re.sub(r"^#+ .*\n?", "", text).strip()
        if heading:
            section, sentence = heading[1], ""
        if text and text[0] not in "|:-":
            said = re.split(r"(?<=[.?!]) +(?=[A-Z])", " ".join(text.split()))
            sentence = " ".join(said[-2:] if len(" ".join(said[-2:])) < 250 else said[-1:])
    return section, sentence


def method_cells(cell, module):
    "Cells that document the methods of a class that the `cell` documents; nbdev does it for the class only."
    shown = re.search(r"^show_doc\((\w+)\)", cell["source"], re.MULTILINE)
    if cell["cell_type"] != "code" or not shown or shown[1].lower() not in exported().get(module, ()):
        return
    from nbdev.doclinks import NbdevLookup
    from nbdev.showdoc import show_doc

    found = getattr(importlib.import_module(f"freesegdiff.{module}"), shown[1])
    for name in public_methods(module).get(shown[1], ()):
        text = with_address(show_doc(getattr(found, name), title_level=4)._repr_markdown_())
        text = "\n".join(map(NbdevLookup().link_line, text.splitlines()))
        output = {"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": {"text/markdown": text}}
        yield {**cell, "id": f"{cell['id']}-{name}", "source": "#| echo: false\n#| output: asis\nshow_doc", "outputs": [output]}


def unlink(text, wanted):
    "Take away the links that nbdev laid around names in backticks, where they are `wanted`."
    return re.sub(r"\[(`[^`\]]*`)\]\((http[^)\s]*)\)", lambda found: found[1] if wanted(found[2]) else found[0], text)


def has_entry(link):
    "Whether a link of nbdev, .../core.html#segmentation.save, leads to a name that our pages document."
    page, _, name = link.rpartition("/")[2].partition(".html#")
    top, _, method = name.partition(".")
    return page not in exported() or (top in exported()[page] and method[:1] != "_")


@cache
def public_methods(module):
    "The public methods, of each class of a module, that say what they do: class -> names."
    found = {}
    for node in ast.parse((ROOT / "freesegdiff" / f"{module}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            public = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name[0] != "_" and ast.get_docstring(f)]
            found[node.name] = [f.name for f in public if not any(getattr(d, "id", "") in ("property", "cached_property") for d in f.decorator_list)]
    return found


def make(environment):
    "Run nbdev_proc_nbs (nbs/ -> _proc/), add what it leaves out, and let Quarto, or its stand-in, make the pages (-> _docs/)."
    shutil.rmtree(PROCESSED, ignore_errors=True)
    bin_folder = os.path.dirname(sys.executable)
    processed = subprocess.run([os.path.join(bin_folder, "nbdev_proc_nbs")], cwd=ROOT, env=environment)
    if processed.returncode:
        raise SystemExit("nbdev_proc_nbs failed")
    configure()
    for path in PROCESSED.rglob("*.ipynb"):
        complete(path)
    done = subprocess.run(["quarto", "render", "--no-cache"], cwd=PROCESSED, env=environment, capture_output=True, text=True)
    print(done.stderr if done.returncode else "\n".join(line for line in done.stderr.splitlines() if "warn" in line.lower()))
    if done.returncode:
        raise SystemExit("quarto render failed")
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(PROCESSED / SITE.name, SITE)


def rename():
    "Give pages the names that Quarto gives them (10c_masks.html -> masks.html), and make links to our own site relative."
    from nbdev.config import get_config

    config = get_config()
    names = {path.name: NAME.sub("", path.name) for path in SITE.rglob("*.html")}
    numbered = re.compile("|".join(rf"\b{re.escape(old)}" for old, new in names.items() if old != new))
    ours = with_address(f"{config.doc_host}{config.doc_baseurl}") + "/"
    for path in [p for p in SITE.rglob("*") if p.suffix in (".html", ".json", ".xml")]:
        text = numbered.sub(lambda found: names[found[0]], path.read_text(encoding="utf-8"))
        if path.suffix == ".html":
            text = text.replace(f'href="{ours}', f'href="{"../" * len(path.relative_to(SITE).parent.parts)}')
        path.write_text(text, encoding="utf-8")
        path.rename(path.with_name(names.get(path.name, path.name)))


def mark_charts():
    "Give images of lines on white the class `chart`: the dark theme inverts these, and dims the others."
    for path in SITE.rglob("*.html"):
        def mark(tag, page=path):
            source = re.search(r'src="([^"]+)"', tag[0])[1]
            inside = re.match(r"data:image/(?:png|jpeg);base64,(.*)", source, re.DOTALL)
            file = page.parent / unquote(source)
            if not inside and not (file.suffix in (".png", ".jpg", ".jpeg") and file.is_file()):
                return tag[0]
            with Image.open(io.BytesIO(base64.b64decode(inside[1]) if inside else file.read_bytes())) as image:
                pixels = np.asarray(image.convert("RGBA").convert("RGB")).astype(int)
            white = (pixels.min(2) > 245).mean()
            return tag[0].replace('class="', 'class="chart ', 1) if white > CHART else tag[0]

        path.write_text(re.sub(r'<img [^>]*class="[^>]*>', mark, path.read_text(encoding="utf-8")), encoding="utf-8")


def write_math():
    "Write formulas as MathML, as Quarto does; smalldocs leaves them to a script from another host."
    from latex2mathml.converter import convert

    def formula(found):
        display = "block" if found[1] == "display" else "inline"
        return f'<span class="math {found[1]}">{convert(html.unescape(found[2]), display=display)}</span>'

    for path in SITE.rglob("*.html"):
        text = re.sub(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', formula, path.read_text(encoding="utf-8"), flags=re.DOTALL)
        path.write_text(re.sub(r"<(?:link|script)[^>]*/katex@[^>]*>(?:</script>)?", "", text), encoding="utf-8")


def rank():
    "Let a search find chapters before signatures: a signature gets a title of many words, which counts for less."
    path = SITE / "search.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    for entry in entries:
        page, _, name = entry["href"].partition(".html#")
        if name.partition(".")[0] in exported().get(page, ()):
            entry |= {"title": f"{entry['section'] or name} · {SIGNATURE} {entry['title']}", "section": ""}
    path.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quarto", action="store_true", help="make the pages with Quarto itself")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(dict(os.environ) if args.quarto else stand_in(folder))
    rename()
    rank()
    write_math()
    mark_charts()
    pages.main()


if __name__ == "__main__":
    main()
