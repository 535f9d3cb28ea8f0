"""nbs/notes/command_line.qmd: the page of the command line, made from the code.

    python .github/scripts/cli_page.py    # after a change of nbs/26d_cli.ipynb
"""

import inspect
import sys

from readme import ROOT

PAGE = ROOT / "nbs/notes/command_line.qmd"
HEAD = """---
title: The command line
description: Every command with its options, made from the code by `.github/scripts/cli_page.py`
---

`freesegdiff --help` and `freesegdiff COMMAND --help` print the same in a terminal. The chapter [cli](../26d_cli.ipynb) shows how the commands are made and tested.

```bash
freesegdiff demo                                  # bundled images, bundled models, offline
freesegdiff segment photos/ --out out             # a folder; an image; a "*.png" pattern; again: the rest
ls photos/*.jpg | freesegdiff segment -           # a list on standard input; `find -print0` lists any name
freesegdiff segment cat.png --json | jq .caption  # one line of JSON per image
freesegdiff --install-completion                  # the Tab key completes commands and options
```
"""


def cell(text):
    "A text as the cell of a table; < and > stand for themselves."
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;").replace("*", "\\*")


def row(parameter):
    "One argument or option as a row: name, what it means, default."
    argument = parameter.param_type_name == "argument"
    names = [parameter.metavar or parameter.name.upper()] if argument else [*parameter.opts, *parameter.secondary_opts]
    plain = parameter.default in (None, False, ()) or callable(parameter.default)
    default = "needed" if parameter.required else "" if plain else f"`{names[0] if parameter.default is True else parameter.default}`"
    return f"| {', '.join(f'`{name}`' for name in names)} | {cell(parameter.help or '')} | {default} |"


def section(name, command):
    "A command: what it does, how it is called, its arguments and options."
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    arguments = [p.metavar or p.name.upper() for p in shown if p.param_type_name == "argument"]
    usage = " ".join(["freesegdiff", name, *arguments, "[OPTIONS]"])
    rows = "\n".join(map(row, shown))
    return f"## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```bash\n{usage}\n```\n\n| | meaning | default |\n| --- | --- | --- |\n{rows}\n"


def page():
    "The text that the page must have."
    sys.path.insert(0, str(ROOT))
    from typer.main import get_command

    from freesegdiff.cli import app

    return "\n".join([HEAD, *(section(name, command) for name, command in get_command(app).commands.items())])


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
