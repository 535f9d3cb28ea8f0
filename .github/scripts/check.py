"""Check what tests cannot see: notebooks, package, README and wheel fit together. Changes nothing; the last line counts checks.

Each check is a function that returns its complaints; its docstring is the rule.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import cli_page
from join import joined
from readme import README, ROOT, readme

NBS, PACKAGE = ROOT / "nbs", ROOT / "freesegdiff"
MAX_LINES = 45  # of an exported cell
MAX_OUTPUT, MAX_NOTEBOOK = 200_000, 1_000_000  # bytes
MACHINE_PATH = re.compile(r"(?:/(?:home|root|tmp|work|Users|usr/lib|opt)/|[A-Z]:\\Users\\|site-packages)[\w.\-/\\]*")
DIRECTIVES = set("default_exp export exports exporti hide hide_line hide_input hide_output filter_stream exec_doc".split())
QUARTO = set("eval echo output warning error include label code-fold code-summary fig-cap fig-alt layout-ncol".split())


def settings():
    "The project's settings.ini."
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return parser["DEFAULT"]


@cache
def notebooks():
    "Every notebook under nbs/ as (path relative to the project, cells)."
    paths = [path for path in sorted(NBS.rglob("*.ipynb")) if not any(p[0] in "._" for p in path.relative_to(NBS).parts)]
    return [(path.relative_to(ROOT), json.loads(path.read_text(encoding="utf-8"))["cells"]) for path in paths]


def code_cells():
    "Every code cell: where it is, its directives (name -> rest of the line), its lines without them, the cell."
    for path, cells in notebooks():
        for number, cell in enumerate(cells, 1):
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                marks = [re.match(r"\s*#\s*\|\s*([\w-]+:?)\s*(.*)", line) for line in lines]
                directives = {mark[1]: mark[2] for mark in marks if mark}
                yield f"{path}, cell {number}", directives, [x for x, mark in zip(lines, marks) if not mark], cell


def exporting():
    "The notebooks that make a module: path -> (module, cells)."
    found = {}
    for path, cells in notebooks():
        for cell in cells:
            module = re.match(r"#\s*\|\s*default_exp\s+(\S+)", "".join(cell["source"]))
            if module:
                found[path] = module[1], cells
    return found


@cache
def regenerated():
    "The project exported and cleaned by nbdev in a temporary folder: relative path -> bytes of every module and notebook."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        (copy / PACKAGE.name).mkdir()
        for name in ("settings.ini", f"{PACKAGE.name}/__init__.py"):
            shutil.copyfile(ROOT / name, copy / name)
        for path, _ in notebooks():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, copy / path)
        for step in ("nbdev_export", "nbdev_clean"):
            code = f"import sys; from nbdev.cli import {step}; sys.argv = ['{step}']; {step}()"
            subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=copy, check=True, stdin=subprocess.DEVNULL)
        made = [*copy.glob("nbs/**/*.ipynb"), *copy.glob(f"{PACKAGE.name}/**/*.py")]
        return {path.relative_to(copy): path.read_bytes() for path in made}


def check_export():
    "the package is what the notebooks export (else: nbdev_export)"
    made = {path: text for path, text in regenerated().items() if path.suffix == ".py"}
    here = {path.relative_to(ROOT): path.read_bytes() for path in PACKAGE.rglob("*.py")}
    return [
        f"{path}: {'differs from its notebook' if path in made and path in here else 'not exported yet' if path in made else 'no notebook exports it'}"
        for path in sorted(made.keys() | here.keys())
        if made.get(path) != here.get(path)
    ]


def check_clean():
    "the notebooks are clean (else: nbdev_clean)"
    made = regenerated()
    return [f"{path}: not clean" for path, _ in notebooks() if made[path] != (ROOT / path).read_bytes()]


def check_readme():
    "README.md is what nbs/index.ipynb says (else: python .github/scripts/readme.py)"
    same = README.exists() and README.read_text(encoding="utf-8") == readme()
    return [] if same else ["README.md differs from nbs/index.ipynb"]


def check_cli_page():
    "nbs/notes/command_line.qmd is what the command line says (else: python .github/scripts/cli_page.py)"
    same = cli_page.PAGE.exists() and cli_page.PAGE.read_text(encoding="utf-8") == cli_page.page()
    return [] if same else [f"{cli_page.PAGE.relative_to(ROOT)} differs from freesegdiff/cli.py"]


def check_anatomy():
    "a code notebook starts with `# module` and a `> line`, has its module's name, and ends with the hidden export cell"
    wrong = []
    for path, (module, cells) in exporting().items():
        if not re.fullmatch(rf"# {re.escape(module)}\n\n> \S.*[^.\s]\n?", "".join(cells[0]["source"])):
            wrong.append(f"{path}: cell 1 is not exactly `# {module}`, an empty line and `> One line without full stop`")
        if re.sub(r"^\d+[a-z]?_", "", path.stem) != module:
            wrong.append(f"{path}: exports to `{module}`")
        if re.sub(r"[\s;]", "", "".join(cells[-1]["source"])) != "#|hideimportnbdevnbdev.nbdev_export()":
            wrong.append(f"{path}: the last cell is not `#| hide`, `import nbdev; nbdev.nbdev_export()`")
    return wrong


def check_cell_length():
    "an exported cell has at most 45 lines"
    sizes = [(where, len("\n".join(lines).strip().splitlines())) for where, marks, lines, _ in code_cells() if is_export(marks)]
    return [f"{where}: {size} lines" for where, size in sizes if size > MAX_LINES]


def is_export(directives):
    return bool(directives.keys() & {"export", "exports", "exporti"})


def check_directives():
    "every `#|` word is known, and stands at the top of its cell (nbdev ignores the others silently)"
    known = DIRECTIVES | set(settings()["tst_flags"].split()) | {word + ":" for word in QUARTO}
    wrong = []
    for where, directives, _, cell in code_cells():
        wrong += [f"{where}: unknown `#| {word}`" for word in directives if word not in known]
        top = re.match(r"(\s*#\s*\|.*\n?|\s*\n)*", "".join(cell["source"]))[0]
        wrong += [f"{where}: `#|` below the top"] if len(re.findall(r"#\s*\|", top)) < len(directives) else []
    return wrong


def check_imports():
    "imports stand alone in the cells of a code notebook that are not exported (the site's build runs such cells whole)"
    code_notebooks = tuple(f"{path}," for path in exporting())
    wrong = []
    for where, directives, lines, _ in code_cells():
        if not where.startswith(code_notebooks) or is_export(directives) or "nbdev.nbdev_export()" in "".join(lines):
            continue
        source = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
        imports = [isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body]
        wrong += [f"{where}: imports mixed with other code"] if any(imports) and not all(imports) else []
    return wrong


def check_outputs():
    "no output is an error, is large, shows a path of somebody's machine, or is printed text in pieces (else: python .github/scripts/join.py)"
    wrong = [f"{path}: {(ROOT / path).stat().st_size} bytes" for path, _ in notebooks() if (ROOT / path).stat().st_size > MAX_NOTEBOOK]
    for where, _, _, cell in code_cells():
        wrong += [f"{where}: printed text in pieces"] if joined(cell["outputs"]) != cell["outputs"] else []
        for output in cell["outputs"]:
            size = len(json.dumps(output))
            wrong += [f"{where}: an output of {size} bytes"] if size > MAX_OUTPUT else []
            wrong += [f"{where}: an error"] if output["output_type"] == "error" else []
            text = {kind: data for kind, data in output.get("data", {}).items() if not kind.startswith("image/")}
            seen = MACHINE_PATH.search(json.dumps([output.get("text", ""), text]))
            wrong += [f"{where}: shows {seen[0]}"] if seen else []
    return wrong


def check_sources():
    "no cell names a path of somebody's machine"
    found = [(path, n, MACHINE_PATH.search("".join(cell["source"]))) for path, cells in notebooks() for n, cell in enumerate(cells, 1)]
    return [f"{path}, cell {n}: {seen[0]}" for path, n, seen in found if seen and seen[0] != "site-packages"]


def check_sidebar():
    "nbs/sidebar.yml lists every notebook and page, and only what exists"
    listed = set(re.findall(r"[\w/.-]+\.(?:ipynb|qmd)", (NBS / "sidebar.yml").read_text(encoding="utf-8")))
    here = {path.relative_to("nbs").as_posix() for path, _ in notebooks()} | {path.relative_to(NBS).as_posix() for path in NBS.rglob("*.qmd")}
    return [f"{name}: not in the sidebar" for name in sorted(here - listed)] + [f"{name}: does not exist" for name in sorted(listed - here)]


def check_links():
    "links to files of the project lead somewhere"
    pages = [(path.parent, path, "".join(c["source"])) for path, cells in notebooks() for c in cells if c["cell_type"] == "markdown"]
    pages.append((Path(), README.name, README.read_text(encoding="utf-8")))
    wrong = []
    for folder, page, text in pages:
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", text):
            if not (ROOT / folder / unquote(target)).exists():
                wrong.append(f"{page}: {target}")
    return wrong


def check_wheel():
    "the wheel holds every tracked file of the package (else: MANIFEST.in)"
    git = subprocess.run(["git", "ls-files", PACKAGE.name], cwd=ROOT, capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"  # setuptools writes beside the sources
        for name in git.stdout.split() + ["setup.py", "settings.ini", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check", "-w", folder, str(copy)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        inside = set(zipfile.ZipFile(next(Path(folder).glob("*.whl"))).namelist())
    return [f"{name}: missing" for name in git.stdout.split() if name not in inside]


def main():
    checks = [check for name, check in globals().items() if name.startswith("check_")]
    failed = 0
    for check in checks:
        try:
            complaints = check()
        except Exception as error:  # a check that cannot run has failed; the others still tell what they see
            complaints = [f"{type(error).__name__}: {error}"]
        failed += bool(complaints)
        print("FAIL" if complaints else "ok  ", check.__doc__, flush=True)
        for complaint in complaints:
            print("      ", complaint)
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
