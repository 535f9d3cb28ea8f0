"""Make the documentation site in _docs/, with or without Quarto, then check it; the last line counts checks.

    python .github/scripts/docs.py            # nbdev processes the notebooks, smalldocs makes the pages
    python .github/scripts/docs.py --quarto   # the same with Quarto, as on GitHub
    python .github/scripts/docs.py --check    # only check the pages that are there

Both make the pages from the same processed notebooks and the same `_quarto.yml`.
Each check is a function of all pages that returns its complaints; its docstring is the rule.
"""

import argparse
import ast
import inspect
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from html.parser import HTMLParser
from multiprocessing import get_context
from urllib.parse import unquote, urlsplit

from readme import FENCED, ROOT

NBS, PROCESSED, SITE = ROOT / "nbs", ROOT / "_proc", ROOT / "_docs"
QUIET = ("output-file is not read", "commonmark is not built", "fig-responsive is ignored", "html.grid is ignored")  # for Quarto only
NAME = re.compile(r"^\d+[a-z]?_")  # of a notebook; nbdev leaves it out of the page's name


def process_one(path):
    "Let nbdev hide, link and document one notebook, or copy another file: nbs/ -> _proc/."
    import fastcore.docments
    from execnb.nbio import dict2nb, write_nb
    from nbdev.processors import FilterDefaults

    def lenient(symbol, eval_str):  # the name of a type that is imported for type checkers only stays a name
        try:
            return inspect.signature(symbol, eval_str=eval_str)
        except NameError:
            return inspect.signature(symbol)

    fastcore.docments.signature = lenient
    os.environ["IN_TEST"] = "1"  # nbdev's sign that a cell runs for the page
    made = PROCESSED / path.relative_to(NBS)
    made.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".ipynb":
        content = json.loads(path.read_text(encoding="utf-8"))
        notebook = dict2nb(content | {"cells": list(with_methods(content["cells"])), "path_": str(path)})
        FilterDefaults()(notebook)
        for cell in notebook.cells:
            if "outputs" in cell:
                cell.outputs = [output for output in cell.outputs if "it/s]" not in json.dumps(output)]  # progress bars
            if cell.cell_type == "markdown":
                cell.source = unlink(cell.source, lambda link: not has_entry(link))
            for output in cell.get("outputs", []):
                if "text/markdown" in output.get("data", {}):  # a signature; its defaults may name folders of this machine
                    text = "".join(output.data["text/markdown"]).replace(f"{ROOT}/", "")
                    output.data["text/markdown"] = FENCED.sub(lambda code: unlink(code[0], bool), unlink(text, lambda link: not has_entry(link)))
        write_nb(notebook, made)
    else:
        shutil.copyfile(path, made)


def unlink(text, wanted):
    "Take away the links that nbdev laid around names in backticks, where they are `wanted`."
    return re.sub(r"\[(`[^`\]]*`)\]\((http[^)\s]*)\)", lambda found: found[1] if wanted(found[2]) else found[0], text)


@cache
def exported():
    "What each module exports: module -> names of functions and classes, in lower case as in links."
    found = {}
    for path in (ROOT / "freesegdiff").glob("[a-z]*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        names = {name.value for node in body if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__" for name in node.value.elts}
        found[path.stem] = {node.name.lower() for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names}
    return found


def has_entry(link):
    "Whether a link of nbdev, .../core.html#segmentation.save, leads to a name that our pages document."
    page, _, name = link.rpartition("/")[2].partition(".html#")
    top, _, method = name.partition(".")
    return page not in exported() or (top in exported()[page] and method[:1] != "_")


def with_methods(cells):
    "Cells with one more after each exported class, to document its methods as well; nbdev does it for the class only."
    for cell in cells:
        yield cell
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and re.match(r"#\|\s*export\b", source):
            for node in ast.parse(source).body:
                if isinstance(node, ast.ClassDef) and node.name[0] != "_":
                    for name in methods(node):
                        yield {**cell, "source": f"show_doc({node.name}.{name}, title_level=4)", "outputs": []}


def methods(node):
    "The public methods of a class that say what they do."
    public = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name[0] != "_" and ast.get_docstring(f)]
    return [f.name for f in public if not any(getattr(d, "id", "") in ("property", "cached_property") for d in f.decorator_list)]


def process():
    "Do all that nbdev_proc_nbs does, but install nothing."
    from nbdev.doclinks import _build_modidx
    from nbdev.quarto import refresh_quarto_yml

    refresh_quarto_yml()
    _build_modidx()
    shutil.rmtree(PROCESSED, ignore_errors=True)
    paths = [path for path in NBS.rglob("*") if path.is_file() and not any(p[0] in "._" for p in path.relative_to(NBS).parts[:-1])]
    paths = [path for path in paths if path.name[0] not in "._" or path.name == "_quarto.yml"]
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
        list(pool.map(process_one, paths))


def render(quarto):
    "Let Quarto or smalldocs make the pages: _proc/ -> _docs/; print warnings, less those of smalldocs about keys of Quarto."
    program = "import sys; from smalldocs.cli import main; sys.argv = ['smalldocs', 'render', '--quiet', '.']; sys.exit(main())"
    command = ["quarto", "render", "--no-cache"] if quarto else [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROCESSED, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(PROCESSED / SITE.name, SITE)
    for line in done.stderr.splitlines():
        if not any(known in line for known in QUIET):
            print(line)


def rename():
    "Give pages the names that Quarto gives them (10c_masks.html -> masks.html), and make links to our own site relative."
    from nbdev.config import get_config

    config = get_config()
    names = {path.name: NAME.sub("", path.name) for path in SITE.rglob("*.html")}
    numbered = re.compile("|".join(rf"\b{re.escape(old)}" for old, new in names.items() if old != new))
    ours = f"{config.doc_host}{config.doc_baseurl}/"
    for path in [p for p in SITE.rglob("*") if p.suffix in (".html", ".json", ".xml")]:
        text = numbered.sub(lambda found: names[found[0]], path.read_text(encoding="utf-8"))
        if path.suffix == ".html":
            text = text.replace(f'href="{ours}', f'href="{"../" * len(path.relative_to(SITE).parent.parts)}')
        path.write_text(text, encoding="utf-8")
        path.rename(path.with_name(names.get(path.name, path.name)))


class Page(HTMLParser):
    "The ids, links, images and classes of one page."

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images, self.classes = set(), [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        self.classes.update((attrs.get("class") or "").split())
        if tag in ("a", "link") and attrs.get("href"):
            self.links.append(attrs["href"])
        if tag in ("img", "script", "source") and attrs.get("src"):
            self.links.append(attrs["src"])
        if tag == "img":
            self.images.append(attrs.get("src") or "")


@cache
def pages():
    "Every page: its path in the site -> what is on it."
    found = {path.relative_to(SITE).as_posix(): Page(path.read_text(encoding="utf-8")) for path in sorted(SITE.rglob("*.html"))}
    return {name: page for name, page in found.items() if not name.startswith("site_libs/")}


@cache
def sidebar():
    "What nbs/sidebar.yml lists, as paths in the site."
    listed = re.findall(r"[\w/.-]+\.(?:ipynb|qmd)", (NBS / "sidebar.yml").read_text(encoding="utf-8"))
    return {posixpath.join(posixpath.dirname(name), NAME.sub("", posixpath.basename(name)).rsplit(".", 1)[0] + ".html") for name in listed}


def check_pages():
    "every page of the sidebar exists, and every page is in the sidebar"
    here = set(pages()) - {"404.html"}
    return [f"{name}: no page" for name in sorted(sidebar() - here)] + [f"{name}: not in the sidebar" for name in sorted(here - sidebar())]


def check_links():
    "no link, anchor or image inside the site is broken"
    wrong = []
    for name, page in pages().items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path))) if parts.path else name
            target = target + "/index.html" if (SITE / target).is_dir() else target
            if not (SITE / target).is_file():
                wrong.append(f"{name}: {link}")
            elif parts.fragment and target in pages() and unquote(parts.fragment) not in pages()[target].ids:
                wrong.append(f"{name}: {link}: no such anchor")
    return wrong


def check_outputs():
    "no page shows the output of an error, a progress bar, or a folder of the machine that made it"
    signs = ("Traceback (most recent call last)", "it/s]", str(ROOT), "site-packages/")
    wrong = [f"{name}: an error" for name, page in pages().items() if page.classes & {"cell-output-error"}]
    return wrong + [f"{name}: {sign}" for name in pages() for sign in signs if sign in (SITE / name).read_text(encoding="utf-8")]


def check_figures():
    "every tutorial shows a figure"
    tutorials = {name: page for name, page in pages().items() if name.startswith("tutorials/")}
    drawn = {name for name, page in tutorials.items() if any(not src.startswith("http") for src in page.images)}
    return sorted(set(tutorials) - drawn) if tutorials else ["there is no tutorial"]


def check_reference():
    "every function and class that a module exports is documented on its page"
    here = {module: pages()[f"{module}.html"].ids for module in exported() if f"{module}.html" in pages()}
    return [f"{module}: {name}" for module, ids in sorted(here.items()) for name in sorted(exported()[module] - ids)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quarto", action="store_true", help="make the pages with Quarto")
    parser.add_argument("--check", action="store_true", help="make nothing")
    args, start = parser.parse_args(), time.perf_counter()
    if not args.check:
        process()
        render(args.quarto)
        rename()
    checks = [check for name, check in globals().items() if name.startswith("check_")]
    failed = 0
    for check in checks:
        complaints = check()
        failed += bool(complaints)
        print("FAIL" if complaints else "ok  ", check.__doc__, flush=True)
        for complaint in complaints:
            print("      ", complaint)
    print(f"{len(pages())} pages in {SITE.name}/, {time.perf_counter() - start:.0f} s")
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    import docs  # by its name: the cells of a notebook take the place of __main__ in the processes that run them

    docs.main()
