"""Use the web page of `freesegdiff app` with Chromium as a visitor does; the last line counts checks.

    python .github/scripts/app_look.py                 # the checks
    python .github/scripts/app_look.py --shots DIR     # and save what the page looks like

A sample is chosen and segmented by the keyboard alone, a broken file and an image out of domain are dropped, and the
rules of browser.py hold, wide and narrow. Where gradio or Chromium is missing, this is printed.
"""

import argparse
import importlib.util
import shutil
import sys
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from browser import Browser, CUT, DIM, NAMELESS

WAIT = "for (let i = 0; i < 600 && !(%s); i++) await new Promise((done) => setTimeout(done, 100)); return (%s);"
SUMMARY = "(document.querySelector('#summary')?.textContent || '').trim()"
UNSEEN = """
const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
const ring = (s) => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== 'none';
const parents = [e, e.parentElement, e.closest('label, .wrap, .block')].filter(Boolean);
return [e.tagName, (e.getAttribute('aria-label') || e.title || e.textContent || e.placeholder || e.labels?.[0]?.textContent || e.querySelector('img')?.alt || '').trim().slice(0, 40), parents.some((p) => ring(getComputedStyle(p))), box.width > 0];
"""


def show(browser, width, theme):
    "Set the width of the window and the theme; gradio reads the system's theme at the start only."
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.run(f"document.body.classList.toggle('dark', {'true' if theme == 'dark' else 'false'}); document.activeElement.blur(); window.scrollTo(0, 0); await new Promise((done) => setTimeout(done, 800));")


def press(browser, key, code, number):
    "Press a key."
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number, **(text if kind == "keyDown" else {}))


def walk(browser, most=60):
    "Go through the page with the Tab key: (tag, name, has a visible focus, is drawn) of each stop."
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0);")
    stops = []
    for _ in range(most):
        press(browser, "Tab", "Tab", 9)
        stop = browser.run(UNSEEN)
        if stop[0] == "BODY" and stops:
            break
        stops.append(stop)
    return stops


def focus(browser, name):
    "Press Tab until the control of a name has the focus."
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0);")
    for _ in range(60):
        press(browser, "Tab", "Tab", 9)
        if name in browser.run(UNSEEN)[1]:
            return True
    return False


def drop(browser, path):
    "Choose a file for the image, and wait until the page has looked at it."
    browser.run("document.querySelector('button[aria-label=\"Clear\"], button[aria-label=\"Remove Image\"], button[title=\"Clear\"]')?.click(); await new Promise((done) => setTimeout(done, 500));")
    root = browser.ask("DOM.getDocument")["root"]["nodeId"]
    node = browser.ask("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
    browser.ask("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def visit(browser, address, folder, shots):
    "What is wrong with the page: rule -> complaints."
    wrong = {}
    browser.open(address)
    browser.run(WAIT % (("document.querySelector('button.primary')",) * 2))
    show(browser, 1280, "light")
    chosen = focus(browser, "Sample") or focus(browser, "Example") or focus(browser, "beach")
    press(browser, "Enter", "Enter", 13)
    loaded = browser.run(WAIT % (("!!document.querySelector('[data-testid=image] img, .image-frame img')",) * 2))
    found = focus(browser, "Segment")
    press(browser, "Enter", "Enter", 13)
    text = browser.run(WAIT % (f"{SUMMARY}.includes('preset')", SUMMARY))
    wrong["a sample is chosen and segmented by the keyboard alone"] = [] if "preset" in (text or "") else [f"sample {chosen}, image {loaded}, button {found}: {text!r}"]
    browser.run("await new Promise((done) => setTimeout(done, 1500));")
    for width, theme in ((1280, "light"), (400, "light"), (400, "dark"), (1280, "dark")):
        show(browser, width, theme)
        for rule, script in (("nothing is cut or scrolls sideways", CUT), ("text stands out", DIM), ("every image has alt text, every control a name", NAMELESS)):
            wrong.setdefault(rule, []).extend(f"{width} px, {theme}: {complaint}" for complaint in browser.run(script))
        if shots:
            (shots / f"app-{width}-{theme}.png").write_bytes(browser.picture(True))
    stops = walk(browser)
    wrong["every stop of the Tab key has a name and a visible focus"] = [f"{tag} {name!r}, {'' if seen else 'no '}visible focus" for tag, name, seen, drawn in stops if drawn and not (name and seen)]
    (folder / "broken.png").write_bytes(b"not an image")
    drop(browser, folder / "broken.png")
    text = browser.run(WAIT % (f"{SUMMARY}.includes('cannot be segmented')", SUMMARY))
    wrong["a broken file is named when it is dropped"] = [] if "broken.png" in (text or "") else [repr(text)]
    Image.effect_mandelbrot((200, 160), (-2, -1.2, 1, 1.2), 60).save(folder / "fractal.png")
    drop(browser, folder / "fractal.png")
    browser.run(WAIT % ((f"!{SUMMARY}.includes('cannot be segmented')",) * 2))
    browser.run("document.querySelector('button.primary').click();")
    text = browser.run(WAIT % (f"{SUMMARY}.includes('preset')", SUMMARY))
    wrong["a warning stays with the result"] = [] if "out of domain" in (text or "") else [repr(text)]
    if shots:
        (shots / "app-warning.png").write_bytes(browser.picture(True))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=Path, help="folder for images of the page")
    args = parser.parse_args()
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program or importlib.util.find_spec("gradio") is None:
        print(f"skipped: {'gradio is not installed' if program else 'no Chromium on this machine'}; the web page is not looked at\n0 passed, 0 failed")
        return
    from freesegdiff import FreeSegDiff
    from freesegdiff.app import open_page

    warnings.simplefilter("ignore")
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        (folder / "page").mkdir()
        _, address = stack.enter_context(open_page(lambda: FreeSegDiff.from_preset("mini", device="cpu"), folder / "page", quiet=True))
        (folder / "profile").mkdir()
        browser = Browser(program, folder / "profile")
        stack.callback(browser.close)
        wrong = visit(browser, address, folder, args.shots)
        wrong["the page asks no other host for anything"] = browser.others(address)
    for rule, complaints in wrong.items():
        print("FAIL" if complaints else "ok  ", rule)
        for complaint in complaints[:20]:
            print("      ", complaint)
    failed = sum(map(bool, wrong.values()))
    print(f"{len(wrong) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
