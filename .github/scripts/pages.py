"""Check the pages of the documentation site in _docs/; the last line counts checks.

    python .github/scripts/pages.py

Each check is a function of all pages that returns its complaints; its docstring is the rule. What only a browser can
see is checked by browser.py.
"""

import ast
import os
import posixpath
import re
import sys
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from readme import ROOT

NBS, SITE = ROOT / "nbs", ROOT / "_docs"
NAME = re.compile(r"^\d+[a-z]?_")  # of a notebook; nbdev leaves it out of the page's name
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")


@cache
def exported():
    "What each module exports: module -> names of functions and classes, in lower case as in links."
    found = {}
    for path in (ROOT / "freesegdiff").glob("[a-z]*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        names = {name.value for node in body if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__" for name in node.value.elts}
        found[path.stem] = {node.name.lower() for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names}
    return found


class Page(HTMLParser):
    "The ids, links, images and classes of one page."

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images, self.classes, self.nameless = set(), [], [], set(), []
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
            if not (attrs.get("alt") or "").strip():
                self.nameless.append((attrs.get("src") or "")[:40])


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


def check_alt():
    "every image has alt text"
    return [f"{name}: {image}" for name, page in pages().items() for image in page.nameless]


def check_navigation():
    "every page of the sidebar leads to its neighbours"
    return sorted(name for name in sidebar() & set(pages()) if "page-navigation" not in pages()[name].classes)


def check_outputs():
    "no page shows the output of an error, a progress bar, or a folder of the machine that made it"
    signs = ("Traceback (most recent call last)", "it/s]", str(ROOT), "site-packages/")
    wrong = [f"{name}: an error" for name, page in pages().items() if page.classes & {"cell-output-error"}]
    return wrong + [f"{name}: {sign}" for name in pages() for sign in signs if sign in (SITE / name).read_text(encoding="utf-8")]


def check_address():
    "without an address of the repository no page leads to one"
    from nbdev.config import get_config

    ours = (get_config().git_url, get_config().doc_host)
    return [f"{name}: {link}" for name, page in pages().items() for link in page.links if not REPOSITORY and link.startswith(ours)]


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
    checks = [check for name, check in globals().items() if name.startswith("check_")]
    failed = 0
    for check in checks:
        complaints = check()
        failed += bool(complaints)
        print("FAIL" if complaints else "ok  ", check.__doc__, flush=True)
        for complaint in complaints:
            print("      ", complaint)
    print(f"{len(pages())} pages in {SITE.name}/")
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
