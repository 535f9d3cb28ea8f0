"""Check what tests cannot see: notebooks, package, README and wheel fit together. Changes nothing; the last line counts checks.

Each check is a function that returns its complaints; its docstring is the rule.
"""

import ast
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tokenize
import zipfile
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import cli_page
from join import joined
from readme import README, ROOT, readme

NBS, PACKAGE = ROOT / "nbs", ROOT / "freesegdiff"
MAX_LINES, MEDIAN_LINES = 40, 12  # of an exported cell
MAX_WIDTH, HARD_WIDTH, WIDE_SHARE = 120, 160, 0.02  # of an exported line, characters; share of lines over the first
MAX_RUN = 2  # exported cells in a row without a cell that shows or tests
MAX_MODULE = 500  # lines
STAGE_CHAPTERS = [  # chapters of one stage may import each other; all of them the shared ones
    {"caption", "lexicon", "vocabulary", "mentions", "candidates"},
    {"denoiser", "prompts", "transformer_denoisers", "word_maps", "features", "backbones"},
    {"kmeans", "graphs", "masks", "segmenters"}, {"clip", "crops", "dense", "classify"}, {"crf", "refine"},
]
SHARED = {"core", "image", "colours", "lettering", "prefetch", "viz", "cache", "hub", "models", "checkpoints", "configs", "weights", "testing", "simulated_hub", "display", "apple"}
EVALUATION = {"annotations", "datasets", "metrics", "protocols", "predictions", "evaluate", "scoring", "report", "readers", "coco", "runs", "records", "class_index", "run_results", "run_export"}
FORBIDDEN = {  # fmt: skip; word that no longer stands -> the field's word
    r"pictures?": "image", r"(?<!ground )(?<!ground-)truths?": "ground truth", r"\(Ours\)": "no mark at all", r"strangers?": "out-of-domain image",
    r"ghosts?": "meta-device model", r"specks?": "small regions", r"whole or not at all": "atomic write", r"mends?|mended": "fix",
    r"(most|least) (rounds|tokens)": "maximum/minimum number of", r"sentences that are followed": "beam width", r"drawings of the bootstrap": "resamples",
    r"mute words?": "distractor", r"towers?": "encoder", r"(gives?|same) say": "normalize", r"looks? ahead": "prefetch",
}
ALLOWED = [r"a picture of", r"owner tower", r"picture photo photograph", r'"picture\.webp"', r"picture image shot", r"_picture", r"moment of truth"]  # data, not prose
PARTICIPLES = set("said told asked kept found given wanted meant picture pictures truth truths".split())
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


def exported_cells():
    "Every exported cell that holds more than imports: where it is, its lines that are not empty."
    for where, marks, lines, _ in code_cells():
        if is_export(marks) and not only_imports("\n".join(lines)):
            yield where, [line for line in lines if line.strip()]


def only_imports(source):
    body = ast.parse(source).body
    return bool(body) and all(isinstance(n, ast.Import | ast.ImportFrom) for n in body)


def check_cell_length():
    "an exported cell has at most 40 lines, and half of them at most 12"
    sizes = [(where, len(lines)) for where, lines in exported_cells()]
    median = statistics.median(size for _, size in sizes)
    return [f"{where}: {size} lines" for where, size in sizes if size > MAX_LINES] + [f"the median is {median} lines"] * (median > MEDIAN_LINES)


def check_width():
    "exported lines have at most 120 characters (2 % may be longer, none over 160)"
    lines = [(where, line) for where, cell in exported_cells() for line in cell]
    wide = [(where, line) for where, line in lines if len(line) > MAX_WIDTH]
    wrong = [f"{where}: {len(line)} characters" for where, line in wide if len(line) > HARD_WIDTH]
    return wrong + ([f"{len(wide)} of {len(lines)} lines are over {MAX_WIDTH} characters"] if len(wide) > WIDE_SHARE * len(lines) else [])


def check_runs():
    "at most two exported cells stand in a row without a cell that shows or tests"
    wrong = []
    for path, (_, cells) in exporting().items():
        run = 0
        for number, cell in enumerate(cells, 1):
            source = "".join(cell["source"])
            if cell["cell_type"] != "code" or not source.strip():
                continue
            if re.match(r"#\|\s*exporti?s?\b", source):
                run += not only_imports(source)
                wrong += [f"{path}, cell {number}: {run} exported cells in a row"] if run > MAX_RUN else []
            elif not source.startswith("#| hide"):
                run = 0
    return wrong


def check_module_length():
    "no module is longer than 500 lines"
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.glob("[a-z]*.py")}
    return [f"{name}: {size} lines" for name, size in sizes.items() if size > MAX_MODULE]


def check_order():
    "chapters are numbered in reading order without gaps, and none imports a later one"
    order = {module: place for place, (module, _) in enumerate(exporting().values())}
    names = [path.stem for path in exporting()]
    numbers = [re.match(r"(\d+)([a-z]?)_", name) for name in names]
    wrong = [f"{name}: no number" for name, number in zip(names, numbers) if not number]
    steps = [(int(a[1]), a[2], int(b[1]), b[2]) for a, b in zip(numbers, numbers[1:]) if a and b]
    for (old, letter, new, next_letter), name in zip(steps, names[1:]):
        follows = next_letter in ("", "a") if new == old + 1 else new == old and next_letter == chr(ord(letter or "`") + 1)
        wrong += [] if follows else [f"{name}: comes after {old}{letter}"]
    for path, (module, cells) in exporting().items():
        for imported, number in imported_modules(cells):
            late = order.get(imported, -1) > order[module]
            exception = module == "core" and imported in ("viz", "export", "display")  # methods of `Segmentation`
            wrong += [f"{path}, cell {number}: imports the later chapter {imported}"] if late and not exception else []
    return wrong


def imported_modules(cells, exported_only=False):
    "The modules of the package that the cells of a notebook import, with the cell's number."
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and (not exported_only or source.startswith("#| export")):
            for module in re.findall(r"^\s*(?:from|import) freesegdiff\.(\w+)", source, re.MULTILINE):
                yield module, number
            for names in re.findall(r"^\s*from freesegdiff import ([\w, ]+)", source, re.MULTILINE):
                home = {"FreeSegDiff": "pipeline", "Preset": "presets", "PRESETS": "presets"}
                yield from ((home[name.strip()], number) for name in names.split(",") if name.strip() in home)


def check_layers():
    "a stage imports only shared chapters and its own stage's; evaluation imports no stage"
    wrong = []
    stages = set().union(*STAGE_CHAPTERS)
    for path, (module, cells) in exporting().items():
        own = next((group for group in STAGE_CHAPTERS if module in group), None)
        for imported, number in imported_modules(cells):
            if own and imported not in own | SHARED:
                wrong.append(f"{path}, cell {number}: the stage imports {imported}")
        if module in EVALUATION:
            wrong += [f"{path}, cell {number}: evaluation imports the stage {name}" for name, number in imported_modules(cells, True) if name in stages - {"vocabulary"}]
    return wrong


def check_glossary():
    "prose, docstrings and exported names use the field's words"
    wrong = []
    for where, text in prose():
        for allowed in ALLOWED:
            text = re.sub(allowed, "", text)
        for word, better in FORBIDDEN.items():
            seen = re.search(rf"\b{word}(?!\w)" if word[0] != "\\" else word, text, re.IGNORECASE)
            wrong += [f"{where}: {seen[0]!r} (write {better})"] if seen else []
    for path, (_, cells) in exporting().items():
        for number, cell in enumerate(cells, 1):
            if cell["cell_type"] == "code" and "".join(cell["source"]).startswith("#| export"):
                nodes = ast.walk(ast.parse("".join(cell["source"])))
                names = {getattr(n, "id", None) or getattr(n, "arg", None) or getattr(n, "name", None) for n in nodes if isinstance(n, ast.Name | ast.arg | ast.FunctionDef | ast.ClassDef)}
                wrong += [f"{path}, cell {number}: the name {name}" for name in sorted(names & PARTICIPLES)]
    return wrong


def prose():
    "Every text that people read: markdown without code, and the docstrings and comments of exported cells."
    for path, cells in notebooks():
        for number, cell in enumerate(cells, 1):
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                yield f"{path}, cell {number}", re.sub(r"```.*?```|`[^`\n]*`", "", source, flags=re.DOTALL)
            elif source.startswith("#| export"):
                tokens = tokenize.generate_tokens(io.StringIO(source).readline)
                yield f"{path}, cell {number}", "\n".join(t.string for t in tokens if t.type in (tokenize.COMMENT, tokenize.STRING))
    for page in [*NBS.rglob("*.qmd"), ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md"]:
        if page.name != "changelog.qmd":
            yield str(page.relative_to(ROOT)), re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


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
        tree = ast.parse(source)
        imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
        alone = all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)
        wrong += [f"{where}: imports mixed with other code"] if imports and not alone else []
    return wrong


def check_annotations():
    "no exported cell imports anything for type checkers only (nbdev's show_doc evaluates annotations)"
    return [where for where, marks, lines, _ in code_cells() if is_export(marks) and "TYPE_CHECKING" in "\n".join(lines)]


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
    pages += [(path.parent, path.name, path.read_text(encoding="utf-8")) for path in (README, *NBS.rglob("*.qmd"))]
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
