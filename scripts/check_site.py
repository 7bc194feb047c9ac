"""Open every page of the built site in a real browser that reaches nothing but the site.

    python scripts/check_site.py [docs/_build/html] [--screenshots FOLDER]

A page fails if it asks for anything from another machine, if a request or a script fails, if a figure does not appear
or is missing, if a formula is not drawn, if it has no heading, if code or a table scrolls sideways on a screen of 1280
pixels or the page itself on a phone, if code has no button that copies it, or if a page of the reference has no
example. Needs Playwright (extra `docs-check`) and a Chromium:
that of $CHROMIUM, an installed one, or Playwright's own (`playwright install chromium`).
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Route, ViewportSize, sync_playwright

SITE = Path(__file__).resolve().parent.parent / "docs" / "_build" / "html"
SCREEN: ViewportSize = {"width": 1280, "height": 900}
PHONE = 390
BROWSERS = "chromium", "chromium-browser", "google-chrome"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# What can be seen of a loaded page: each entry of the result is a fault.
FAULTS = r"""async () => {
    const faults = [];
    if (!document.querySelector("article :is(h1, h2)")?.innerText.trim()) faults.push("no heading");
    for (const image of document.images) {
        image.loading = "eager";
        await image.decode().catch(() => {});
        if (!image.naturalWidth) faults.push(`figure does not appear: ${image.src}`);
    }
    // A tutorial's code names the file of each figure; in a loop there may be more.
    const drawn = new Set(document.querySelector("article").textContent.match(/\bfigures \/ f?"[^"]*/g) ?? []).size;
    const shown = document.querySelectorAll("article img").length;
    if (shown < drawn) faults.push(`${drawn} figures are drawn, and ${shown} shown`);
    const article = document.querySelector("article");
    article.querySelectorAll("details").forEach((details) => details.open = details.className != "test");
    for (const block of article.querySelectorAll("pre, .table-wrapper"))
        if (block.scrollWidth > block.clientWidth + 1)
            faults.push(`scrolls sideways: ${block.innerText.slice(0, 60)}`);
    for (const code of article.querySelectorAll(".highlight-python, .highlight-Python, .highlight-sh, .doctest"))
        if (!code.querySelector("button.copybtn")) faults.push(`no button to copy: ${code.innerText.slice(0, 60)}`);
    if (/\/api\/(?!index)/.test(location.pathname) && !article.querySelector(".doctest")) faults.push("no example");
    if (article.innerText.includes("Total running time")) faults.push("says how long the site's machine took");
    for (const formula of document.querySelectorAll(".math")) {
        const drawn = formula.querySelector("math")?.getBoundingClientRect();
        if (!(drawn?.width && drawn?.height)) faults.push(`formula is not drawn: ${formula.textContent}`);
        if (formula.querySelector("merror") || formula.textContent.includes("\\"))
            faults.push(`formula is wrong: ${formula.outerHTML}`);
    }
    const prose = document.querySelector("article, main, body").cloneNode(true);
    prose.querySelectorAll("pre, code, script, math").forEach((element) => element.remove());
    for (const markup of ["\\(", "\\[", ".. math::", ":math:", ":py:obj:", "$$"])
        if (prose.textContent.includes(markup)) faults.push(`markup is left in the text: ${markup}`);
    return faults;
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of this machine that serves `folder`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def chromium() -> str | None:
    """An installed Chromium, or None for Playwright's own."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def faults(browser: Browser, address: str, name: str) -> tuple[list[str], Page]:
    """What is wrong with a page, and the page."""
    found: list[str] = []
    page = browser.new_page(viewport=SCREEN)

    def only_here(route: Route) -> None:
        if f"http://{urlsplit(route.request.url).netloc}" == address or route.request.url.startswith("data:"):
            route.continue_()
        else:
            found.append(f"asks for {route.request.url}")
            route.abort()

    page.route("**/*", only_here)
    page.on("console", lambda message: message.type == "error" and found.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"script: {error}"))
    page.on("requestfailed", lambda request: found.append(f"request failed: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and found.append(f"{answer.status}: {answer.url}"))
    page.goto(f"{address}/{name}", wait_until="load")
    page.wait_for_load_state("networkidle")
    found += page.evaluate(FAULTS)
    page.set_viewport_size({"width": PHONE, "height": 900})
    if (width := page.evaluate("document.documentElement.scrollWidth")) > PHONE:
        found.append(f"is {width} pixels wide on a screen of {PHONE}")
    page.set_viewport_size(SCREEN)
    return found, page


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=SITE, help="folder of the built site")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="write a picture of each page there")
    options = parser.parse_args(arguments)
    names = sorted(path.relative_to(options.site).as_posix() for path in options.site.rglob("*.html"))
    names = [name for name in names if not name.startswith("_")]  # what lies in _static is no page
    names = [
        name + "?q=dropout" if name == "search.html" else name for name in names
    ]  # it has a heading after a search
    if not names:
        parser.error(f"{options.site} has no pages; build the site first: sphinx-build docs {SITE}")

    bad = 0
    with served(options.site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for name in names:
            found, page = faults(browser, address, name)
            formulas = page.locator("math").count()
            print(
                f"{name}: {page.locator('img').count()} images, {formulas} formulas", *found, sep="\n    ", flush=True
            )
            if options.screenshots:
                options.screenshots.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=options.screenshots / (re.sub(r"\W+", "-", name) + ".png"), full_page=True)
            page.close()
            bad += bool(found)
        print(f"{browser.version}: {len(names)} pages, {bad} with faults")
        browser.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
