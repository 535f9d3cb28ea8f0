"""Look at the pages in _docs/ with Chromium, wide and narrow, light and dark; the last line counts checks.

    python .github/scripts/browser.py                                     # every page
    python .github/scripts/browser.py index.html tutorials/claim.html     # some pages
    python .github/scripts/browser.py --shots DIR index.html              # and save what they look like

Each check is a script that runs inside the page and returns its complaints; its key is the rule.
Where there is no Chromium, the checks are skipped, which is printed.
"""

import argparse
import base64
import io
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from docs import SIGNATURE
from pages import SITE

WIDTHS, THEMES = (1280, 400), ("light", "dark")
SEARCHED = "mask"  # typed into the search box of the first page
SQUARE, TALLEST = 40, 12000  # px: side of what counts as large; height of an image of a page
PATIENCE = 60  # seconds for one step of the browser

CUT = """
const main = document.querySelector('main'), wide = document.documentElement.clientWidth, wrong = [];
if (document.documentElement.scrollWidth > wide) wrong.push('the page scrolls sideways');
for (const e of document.body.querySelectorAll('main, main *')) {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (!box.width || !box.height || style.visibility === 'hidden') continue;
  const text = () => e.tagName.toLowerCase() + ' ' + (e.textContent || e.src || '').trim().slice(0, 50);
  if (e.tagName === 'PRE' && e.scrollWidth > e.clientWidth + 1) wrong.push('cut: ' + text());
  let held = false;
  for (let p = e.parentElement; p && p !== main; p = p.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX) || p.tagName === 'svg') held = true;
  if (!held && box.right > wide + 1) wrong.push('beyond the edge: ' + text());
}
return wrong;
"""

DIM = """
const read = (c) => { const n = (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number); return c.startsWith('color(srgb') ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const under = (e) => { const layers = []; for (; e; e = e.parentElement) layers.push(read(getComputedStyle(e).backgroundColor)); return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]); };
const wrong = new Map(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
  if (!text || e.closest('script, style, noscript, svg, [aria-hidden=true], .visually-hidden, :disabled') || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
  const style = getComputedStyle(e), back = under(e), drawn = read(style.color);
  for (let p = e; p; p = p.parentElement) drawn[3] *= Number(getComputedStyle(p).opacity);
  const ink = over(drawn, back), size = parseFloat(style.fontSize);
  const [a, b] = [light(ink), light(back)], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  if (ratio < least) wrong.set(`${ratio.toFixed(1)}:1 for ${e.tagName.toLowerCase()}.${e.className} ${style.color}`, text.slice(0, 30));
}
return [...wrong].map(([where, text]) => `${where}: ${text}`);
"""

NAMELESS = """
const wrong = [...document.querySelectorAll('img')].filter((e) => !(e.getAttribute('alt') || '').trim()).map((e) => 'image ' + e.src.slice(0, 40));
for (const e of document.querySelectorAll('a[href], button, input:not([type=hidden])')) {
  const name = e.getAttribute('aria-label') || e.title || e.textContent.trim() || e.placeholder || [...e.querySelectorAll('img')].map((i) => i.alt).join('') || (e.labels && [...e.labels].map((l) => l.textContent).join(''));
  if (!name && e.checkVisibility()) wrong.push(e.outerHTML.slice(0, 80));
}
return wrong;
"""

BROKEN = "return [...document.images].filter((e) => !e.complete || !e.naturalWidth).map((e) => e.src.slice(0, 60));"

CHECKS = {  # rule -> (script, widths, themes)
    "nothing is cut at the right or makes the page scroll sideways": (CUT, WIDTHS, ("light",)),
    "text stands out from what is behind it (WCAG AA: 4.5:1, large text 3:1)": (DIM, (1280,), THEMES),
    "every image has alt text, every control a name": (NAMELESS, (1280,), ("light",)),
    "every image is shown": (BROKEN, (1280,), ("light",)),
}
WHITE_RULE = "nothing large is white in the dark theme"
SEARCH_RULE = "a search can be read, and leads to chapters before signatures"
HOSTS_RULE = "no page asks another host for anything"


class Browser:
    "Chromium without a window, told what to do by its DevTools protocol."

    def __init__(self, program, folder):
        import websocket  # of Jupyter's server

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0", "--disable-dev-shm-usage"]
        quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command = [program, *options, *quiet, f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port, end = Path(folder) / "DevToolsActivePort", time.monotonic() + PATIENCE
        while not (port.exists() and len(port.read_text(encoding="utf-8").split()) == 2):
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit("Chromium did not start")
            time.sleep(0.1)
        number, path = port.read_text(encoding="utf-8").split()
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{number}{path}", timeout=PATIENCE, suppress_origin=True)
        self.count, self.session, self.events = itertools.count(1), None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        "Send one command and wait for its answer; what happens meanwhile is kept in `events`."
        number = next(self.count)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})))
        while (message := json.loads(self.socket.recv())).get("id") != number:
            self.events.append(message)
        if "error" in message:
            raise SystemExit(f"{method}: {message['error']['message']}")
        return message["result"]

    def run(self, script):
        "Run the body of a function inside the page, wait for it, and return what it returns."
        found = self.ask("Runtime.evaluate", expression=f"(async () => {{{script}}})()", awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise SystemExit(found["exceptionDetails"].get("exception", {}).get("description", "a script failed"))
        return found["result"].get("value")

    def open(self, address):
        "Load a page and wait until its styles, scripts and images are there."
        self.events.clear()
        self.ask("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))
        self.run("document.head.insertAdjacentHTML('beforeend', '<style>* { transition: none !important; }</style>');"
                 "document.querySelectorAll('img[loading=lazy]').forEach((e) => e.loading = 'eager'); await document.fonts.ready; await Promise.allSettled([...document.images].map((e) => e.decode()));")

    def show(self, width, theme):
        "Set the width of the window and the theme of the page; Quarto's pages have a switch for the theme."
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        dark = "document.documentElement.classList.contains('quarto-dark') || document.body.classList.contains('quarto-dark')"
        wanted = f"(({dark}) === {json.dumps(theme == 'dark')})"
        switched = self.run(f"if (!{wanted} && window.quartoToggleColorScheme) window.quartoToggleColorScheme();"
                            f"for (let i = 0; i < 3 || i < 300 && !{wanted}; i++) await new Promise(requestAnimationFrame);"
                            f"return {wanted};")
        if not switched:
            raise SystemExit(f"the page does not switch to the {theme} theme")

    def picture(self, whole):
        "A PNG file of what the page looks like, its first screen or the `whole`."
        width, height = self.run("const e = document.documentElement; return [e.clientWidth, e.scrollHeight]")
        area = {"x": 0, "y": 0, "width": width, "height": min(height, TALLEST) if whole else 900, "scale": 1}
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole, clip=area)["data"])

    def others(self, ours):
        "The addresses at other hosts that the page has asked for."
        sent = [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith((ours, "data:", "blob:", "about:"))]

    def close(self):
        try:
            self.session = None
            self.ask("Browser.close")
        finally:
            self.process.terminate()
            self.process.wait(PATIENCE)


@contextmanager
def served():
    "The site at an address of this machine."
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *parts):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def slabs(browser):
    "Where a square of the page, as it is drawn, is white."
    pixels = np.asarray(Image.open(io.BytesIO(browser.picture(whole=True))).convert("L"))
    height, width = (length // SQUARE * SQUARE for length in pixels.shape)
    least = pixels[:height, :width].reshape(height // SQUARE, SQUARE, width // SQUARE, SQUARE).min((1, 3))
    return [f"{SQUARE * column} px from the left, {SQUARE * row} px from the top" for row, column in np.argwhere(least > 235)]


def search(browser):
    "What is wrong with the list that appears when a word is typed into the search box."
    found, wrong = "document.querySelectorAll('.search-result, .aa-Item')", []
    for theme in THEMES:
        browser.show(1280, theme)
        browser.run("const box = [...document.querySelectorAll('.smalldocs-search input, #quarto-search input')].find((e) => e.offsetParent); box.focus(); box.value = '';")
        browser.ask("Input.insertText", text=SEARCHED)
        browser.run(f"for (let i = 0; i < 50 && !{found}.length; i++) await new Promise((done) => setTimeout(done, 100));")
        links = browser.run(f"return [...{found}].map((e) => (e.href || e.querySelector('a').href))")
        wrong += [f"{theme}: {complaint}" for complaint in browser.run(DIM)] if links else [f"{theme}: nothing found for {SEARCHED}"]
    titles = browser.run(f"return [...{found}].slice(0, 3).map((e) => e.textContent.trim().slice(0, 60))")
    return wrong + [f"among the first three for {SEARCHED}: {title}" for title in titles if SIGNATURE in title]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="paths in the site (all of them)")
    parser.add_argument("--shots", type=Path, help="folder for images of the pages")
    parser.add_argument("--whole", action="store_true", help="images of whole pages, not of the first screen")
    args, start = parser.parse_args(), time.perf_counter()
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        print("skipped: no Chromium on this machine; the look of the pages is not checked\n0 passed, 0 failed")
        return
    names = args.pages or sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "site_libs" not in path.parts)
    wrong = {rule: [] for rule in [*CHECKS, WHITE_RULE, SEARCH_RULE, HOSTS_RULE]}
    with ExitStack() as stack:
        address = stack.enter_context(served())
        browser = Browser(program, stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        stack.callback(browser.close)
        for number, name in enumerate(names):
            browser.open(address + name)
            for width, theme in itertools.product(WIDTHS, THEMES):
                rules = [(rule, script) for rule, (script, widths, themes) in CHECKS.items() if width in widths and theme in themes]
                if not rules and not args.shots:
                    continue  # no rule for a narrow window in the dark
                browser.show(width, theme)
                for rule, script in rules:
                    wrong[rule] += [f"{name} at {width} px, {theme}: {complaint}" for complaint in browser.run(script)]
                if (width, theme) == (1280, "dark"):
                    wrong[WHITE_RULE] += [f"{name}: {complaint}" for complaint in slabs(browser)[:3]]
                if args.shots:
                    args.shots.mkdir(parents=True, exist_ok=True)
                    (args.shots / f"{Path(name).stem}-{width}-{theme}.png").write_bytes(browser.picture(args.whole))
            wrong[HOSTS_RULE] += [f"{name}: {other}" for other in browser.others(address)]
            if number == 0:
                wrong[SEARCH_RULE] += [f"{name}: {complaint}" for complaint in search(browser)]
                if args.shots:
                    (args.shots / "search.png").write_bytes(browser.picture(False))
    for rule, complaints in wrong.items():
        print("FAIL" if complaints else "ok  ", rule)
        for complaint in complaints[:40]:
            print("      ", complaint)
        if len(complaints) > 40:
            print(f"       and {len(complaints) - 40} more")
    failed = sum(map(bool, wrong.values()))
    print(f"{len(names)} pages seen in {Path(program).name}, {time.perf_counter() - start:.0f} s")
    print(f"{len(wrong) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
