"""Open the playground in a real browser that reaches nothing else, and try each experiment and each button.

    python scripts/check_playground.py [--screenshots FOLDER] [--docs]

An experiment fails if the numbers on the page do not show what its sentence says (scripts/playground_claims.py). The
page fails if a script fails, if it asks for anything from elsewhere, if it is wider than a screen of 390, 1280 or 2560
pixels, or if a button, a key or the address does not do what it says. --docs draws the pictures of docs/playground.md.
Needs Playwright (extra `docs-check`) and a Chromium, as scripts/check_site.py does.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

from PIL import Image
from playwright.sync_api import Browser, Route, sync_playwright

from minidl.playground.presets import PRESETS, Preset
from minidl.playground.server import Server
from scripts.check_site import FLAGS, chromium
from scripts.playground_claims import CLAIMS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "images" / "playground"
WIDTHS = 390, 1280, 2560
SECONDS = 120.0  # for an experiment to be trained

# The picture as the page shows it: what the table, the clock and the message say.
READ = """() => {
    const number = (element) => element.dataset.value === "" ? null : Number(element.dataset.value);
    const columns = [];
    for (const row of document.querySelectorAll("#numbers tr"))
        [...row.querySelectorAll("td")].forEach((cell, k) => {
            columns[k] ??= { gradient_norm: null, update: null, saturated: null, dead: null, delta: null };
            columns[k][row.dataset.name] = number(cell);
        });
    const part = (name) => ({
        loss: number(document.getElementById(`${name}-loss`)),
        accuracy: number(document.getElementById(`${name}-accuracy`)),
    });
    return {
        columns, train: part("train"), test: part("test"), ended: document.getElementById("message").textContent,
        steps: Number(document.getElementById("steps").textContent.replaceAll(",", "")),
        playing: document.getElementById("train").textContent === "Pause",
        program: document.getElementById("program").textContent,
        sentence: document.getElementById("sentence").textContent,
        spoken: document.getElementById("spoken").textContent,
        ends: document.getElementById("ends").textContent,
    };
}"""


TOP = "document.getElementById('controls').getBoundingClientRect().top"

# Moves a slider without a rest until the layers are drawn, for 20 s at most; returns whether they were.
MOVE = """async () => {
    const slider = document.querySelector("label:has([name=gain]) input[type=range]");
    const end = performance.now() + 20000;
    let drawn = false;
    new MutationObserver(() => drawn = true).observe(document.getElementById("heads"), { childList: true });
    for (let move = 0; performance.now() < end && !drawn; move++) {
        slider.value = move % 2 ? 300 : 400;
        slider.dispatchEvent(new Event("input"));
        await new Promise((wake) => setTimeout(wake, 1));
    }
    return drawn;
}"""

# Types two numbers of rows before the first can be answered.
TYPE = """() => {
    const field = document.querySelector("[name=rows]");
    for (field.value of [41, 42]) field.dispatchEvent(new Event("change"));
}"""

# Numbers of the table that are wider than their cell.
CUT = """() => [...document.querySelectorAll("#numbers td")].filter((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getBoundingClientRect().width > cell.clientWidth - 2;
}).map((cell) => cell.textContent)"""


@contextlib.contextmanager
def served() -> Iterator[Server]:
    """A playground that serves."""
    with Server(0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Visitor:
    """A page, and what was wrong with it.

    Attributes:
        faults: Failures of scripts, requests to elsewhere, and what a check found.
    """

    def __init__(self, browser: Browser, server: Server, width: int = 1280, **options: Any):
        self.server, self.faults = server, list[str]()
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = context.new_page()
        self.page.route("**/*", self._only_here)
        self.page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))

    def _only_here(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.netloc == f"127.0.0.1:{self.server.server_port}" or address.scheme == "data":
            route.continue_()
        else:
            self.faults.append(f"asks for {route.request.url}")
            route.abort()

    def open(self, state: str = "", token: bool = True) -> None:
        """Open the page with a state in its address, and wait for its first picture."""
        start = f"token={self.server.token}&" if token else ""
        self.page.goto("about:blank")
        self.page.goto(f"http://127.0.0.1:{self.server.server_port}/#{start}{state}")
        self.wait(lambda shown: shown["columns"] or shown["ended"])

    def read(self) -> dict[str, Any]:
        return self.page.evaluate(READ)

    def wait(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Return what the page shows once it fulfils a condition."""
        for _ in range(round(SECONDS / 0.05)):
            shown = self.read()
            if condition(shown):
                return shown
            self.page.wait_for_timeout(50)
        raise TimeoutError(f"it still shows {self.page.inner_text('#clock')}, {shown['ended']!r}")

    def expect(self, holds: Any, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


# The experiments -----------------------------------------------------------------------------------------------------


def try_experiment(visitor: Visitor, preset: Preset) -> None:
    """Let the page train as far as the experiment goes, and compare its numbers with the claim."""
    visitor.open(f"preset={preset.name}")
    shown = visitor.wait(lambda shown: not shown["playing"] and (shown["steps"] >= preset.steps or shown["ended"]))
    visitor.expect(CLAIMS[preset.name](shown), f"does not show it: {shown}")
    visitor.expect(preset.sentence in shown["sentence"], "does not say its sentence")
    visitor.expect(f"tutorial open {preset.tutorial}" in shown["sentence"], "does not lead to its tutorial")


def draw_for_docs(visitor: Visitor, preset: Preset) -> None:
    """Write the picture of an experiment, with as few colours as it has."""
    DOCS.mkdir(parents=True, exist_ok=True)
    visitor.page.set_viewport_size({"width": 1280, "height": 1000})
    visitor.page.evaluate("document.getElementById('python').hidden = true")
    visitor.page.evaluate("document.querySelector('main').style.flex = 'none'")  # not as high as the window
    picture = Image.open(io.BytesIO(visitor.page.locator("main").screenshot()))
    picture.convert("RGB").quantize(200).save(DOCS / f"{preset.name}.png", optimize=True)


# The page ------------------------------------------------------------------------------------------------------------


def try_buttons(visitor: Visitor) -> None:
    """Buttons and keys: one step, rewind, another seed, train and pause, copy."""
    page, small = visitor.page, "layers=2&units=8&rows=50"
    visitor.open(small)
    first = visitor.read()
    page.click("#step")
    one = visitor.wait(lambda shown: shown["steps"] == 1)
    visitor.expect(one["columns"] != first["columns"], "a step changes nothing")
    visitor.expect(first["spoken"] == "", "a screen reader hears of what was not asked for")
    one = visitor.wait(lambda shown: shown["spoken"].startswith("step 1: training loss"))
    visitor.expect("at step 3; the page is at step 1" in one["ends"], f"does not say where the program ends: {one}")
    page.click("#rewind")
    again = visitor.wait(lambda shown: shown["steps"] == 0)
    visitor.expect(again == first, "rewind does not lead back to the same weights")
    page.click("#step")
    visitor.expect(visitor.wait(lambda shown: shown["spoken"]) == one, "the same step is another one after rewind")
    page.click("#train")
    visitor.wait(lambda shown: shown["steps"] > 50)
    page.click("#train")
    visitor.expect(not visitor.read()["playing"], "pause does not pause")
    page.click("#seed")
    visitor.wait(lambda shown: shown["steps"] == 0 and shown["columns"] != first["columns"])
    visitor.expect("seed=" in page.url, "the address has not the new seed")
    page.click("#copy")
    copied = page.evaluate("navigator.clipboard.readText()")
    visitor.expect(copied == visitor.read()["program"] and "import minidl" in copied, "copy does not copy the program")
    page.keyboard.press("s")  # the focus is still on the button
    visitor.wait(lambda shown: shown["steps"] == 1)
    page.keyboard.press("r")
    visitor.wait(lambda shown: shown["steps"] == 0)
    page.keyboard.press("t")
    visitor.wait(lambda shown: shown["playing"])
    page.keyboard.press("t")
    visitor.wait(lambda shown: not shown["playing"])


def try_sliders(visitor: Visitor) -> None:
    """A slider shows the network at once; what is live does not begin anew; the address brings it all back."""
    page = visitor.page
    visitor.open("layers=3&units=8&rows=50&activation=tanh&init=normal")
    before = visitor.read()
    slider = page.locator("label:has([name=gain]) input[type=range]")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    shown = visitor.wait(lambda shown: shown["columns"][0]["std"] > 1.05 * before["columns"][0]["std"])
    page.fill("[name=units]", "5")
    page.press("[name=units]", "Enter")
    page.fill("[name=learning_rate]", "")
    page.press("[name=learning_rate]", "Tab")
    visitor.expect(page.input_value("[name=learning_rate]") == "0.1", "an empty field changes a setting")
    shown = visitor.wait(lambda shown: "Dense(2, 5" in shown["program"])
    page.click("#step")
    page.click("#step")
    visitor.wait(lambda shown: shown["steps"] == 2)
    page.select_option("[name=optimizer]", "adam")
    page.click("#step")
    shown = visitor.wait(lambda shown: shown["steps"] == 3)
    visitor.expect("dl.Adam(" in shown["program"], "the optimizer does not change under way")
    address = page.url
    visitor.expect(visitor.server.token not in address, "the token stays in the address")
    visitor.open(urlsplit(address).fragment, token=False)
    again = visitor.read()
    model = shown["program"].partition("# The settings")[0].rstrip()
    visitor.expect(again["program"].startswith(model), "the address does not bring the network back")
    page.select_option("#preset", "small")
    visitor.wait(lambda shown: len(shown["columns"]) == 11)
    visitor.expect(page.url.endswith("#preset=small"), "the address does not name the experiment")
    page.check("#own")
    visitor.expect(page.url.endswith("#preset=small&own=1"), "the address does not keep the kind of scale")
    top = page.evaluate(TOP)
    page.select_option("[name=activation]", "relu")
    visitor.wait(lambda shown: "dl.ReLU" in shown["program"])
    visitor.expect(page.evaluate(TOP) == top, "the controls move when one of them is used")
    visitor.expect(page.input_value("#preset") == "", "a changed experiment is still called by its name")


def try_haste(visitor: Visitor) -> None:
    """The page keeps up with a slider that does not rest, and goes on where a setting on the way cannot be."""
    visitor.open("layers=20&units=64")
    visitor.expect(visitor.page.evaluate(MOVE), "shows nothing as long as a slider moves")
    visitor.open("rows=40&batch_size=20&batch_norm=before")
    visitor.page.evaluate(TYPE)
    shown = visitor.wait(lambda shown: shown["ended"] or "spiral(42," in shown["program"])
    visitor.expect(not shown["ended"], f"stops at a setting that nobody has any more: {shown['ended']}")
    visitor.faults = [fault for fault in visitor.faults if "400" not in fault]


def try_divergence(visitor: Visitor) -> None:
    """Why a run diverged stays to be read, also on other scales."""
    visitor.open("preset=exploding")
    visitor.wait(lambda shown: shown["ended"] and not shown["playing"])
    visitor.expect(not visitor.read()["ends"], "says at which step a program ends that diverges, too")
    visitor.page.check("#own")
    visitor.expect(visitor.read()["ended"], "another scale takes the message away")


def try_another_seed(visitor: Visitor) -> None:
    """Another seed is the same experiment, trained as far; so are its address, and its weights after a rewind."""
    page = visitor.page
    visitor.open("preset=zeros")
    visitor.wait(lambda shown: shown["steps"] == 200 and not shown["playing"])
    page.click("#seed")
    visitor.wait(lambda shown: shown["steps"] < 200)
    shown = visitor.wait(lambda shown: shown["steps"] == 200 and not shown["playing"])
    visitor.expect(
        "Every output" in shown["sentence"] and "preset=zeros&seed=" in page.url,
        f"another seed is another one: {page.url}",
    )
    visitor.open(urlsplit(page.url).fragment)
    again = visitor.wait(lambda shown: shown["steps"] == 200 and not shown["playing"])
    visitor.expect(again["program"] == shown["program"], "the address does not bring the seed back")
    page.click("#train")
    visitor.wait(lambda shown: shown["steps"] > 200)
    page.click("#rewind")
    visitor.wait(lambda shown: shown["steps"] == 0)
    page.click("#step")
    visitor.wait(lambda shown: shown["steps"] == 1)
    page.click("#train")
    visitor.wait(lambda shown: shown["steps"] > 1 and not shown["playing"])
    visitor.expect(visitor.read()["steps"] == 200, "trains farther than the experiment goes, after a rewind")


def try_arrows(visitor: Visitor) -> None:
    """One press of an arrow key moves each number, on its slider and in its field."""
    page = visitor.page
    visitor.open("rows=50")
    for label in page.locator("#controls label:has(input[type=range])").all():
        field = label.locator("input[type=number]")
        old = field.input_value()
        for where, key, back in (("range", "ArrowRight", "ArrowLeft"), ("number", "ArrowUp", "ArrowDown")):
            label.locator(f"input[type={where}]").press(key)
            new = field.input_value()
            visitor.expect(float(new) > float(old), f"{key} does not move {label.inner_text()}: {old} to {new}")
            label.locator(f"input[type={where}]").press(back)
            visitor.expect(float(field.input_value()) < float(new), f"{back} does not move {label.inner_text()}")


def try_errors(visitor: Visitor) -> None:
    """What cannot be is told in a sentence, and the page goes on."""
    visitor.open("rows=21&batch_size=20&batch_norm=before")
    visitor.expect("batch" in visitor.read()["ended"], f"does not tell a wrong setting: {visitor.read()['ended']!r}")
    visitor.page.select_option("[name=batch_norm]", "none")
    visitor.wait(lambda shown: shown["columns"] and not shown["ended"])
    visitor.open("layers=99&units=x")
    visitor.expect("layers" in visitor.read()["ended"], "does not tell a wrong address")
    visitor.page.click("#train")
    visitor.wait(lambda shown: not shown["playing"])
    for state, told in (
        ("preset=nonsense", "no experiment nonsense"),
        ("depth=3", "has depth"),
        ("units=x", "got 'x'"),
    ):
        visitor.open(state)
        visitor.wait(lambda shown: shown["ended"])
        visitor.expect(told in visitor.read()["ended"], f"does not tell what is wrong with {state}")
    visitor.faults = [fault for fault in visitor.faults if "400" not in fault]  # which a browser prints as an error


def try_without_token(visitor: Visitor) -> None:
    visitor.open(token=False)
    told = visitor.read()["ended"]
    visitor.expect(
        "open the address that `minidl playground` printed" in told, f"does not tell a missing token: {told}"
    )
    visitor.faults = [fault for fault in visitor.faults if "403" not in fault]


def try_width(visitor: Visitor, width: int) -> None:
    """Nothing is wider than the screen, and what has no text has a name."""
    for state in ("", "preset=glorot-relu", "preset=staircase"):
        visitor.open(state)
        wide = visitor.page.evaluate("document.documentElement.scrollWidth")
        visitor.expect(wide <= width, f"is {wide} pixels wide on a screen of {width}")
        cut = visitor.page.evaluate(CUT)
        visitor.expect(not cut, f"numbers of the table touch one another: {cut}")
    nameless = visitor.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, svg, canvas, [tabindex]")]
            .filter((e) => e.checkVisibility() && !e.closest("#wrong") && !e.innerText?.trim()
                && !e.getAttribute("aria-label") && !e.closest("label") && !e.ariaLabel)
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    visitor.expect(not nameless, f"has no name for a screen reader: {nameless}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="write pictures of the page there")
    parser.add_argument("--docs", action="store_true", help="write the pictures of docs/playground.md")
    options = parser.parse_args(arguments)
    bad = 0

    def report(name: str, visitor: Visitor, task: Callable[..., None], *given: Any) -> None:
        nonlocal bad
        try:
            task(visitor, *given)
        except Exception as error:
            visitor.faults.append(f"{type(error).__name__}: {error}")
        print(name, *visitor.faults, sep="\n    ", flush=True)
        bad += bool(visitor.faults)
        if options.screenshots:
            options.screenshots.mkdir(parents=True, exist_ok=True)
            visitor.page.screenshot(path=options.screenshots / f"{name.replace(' ', '-')}.png")

    with served() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for preset in PRESETS:
            visitor = Visitor(browser, server)
            report(preset.name, visitor, try_experiment, preset)
            if options.docs:
                draw_for_docs(visitor, preset)
            visitor.page.context.close()
        for task in (
            try_buttons,
            try_sliders,
            try_haste,
            try_arrows,
            try_divergence,
            try_another_seed,
            try_errors,
            try_without_token,
        ):
            visitor = Visitor(browser, server)
            report(task.__name__.replace("_", " "), visitor, task)
            visitor.page.context.close()
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                visitor = Visitor(browser, server, width, color_scheme=scheme, reduced_motion="reduce")
                report(f"{width} {scheme}", visitor, try_width, width)
                visitor.page.context.close()
        print(f"{browser.version}: the playground, {len(PRESETS)} experiments, {bad} with faults")
        browser.close()
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
