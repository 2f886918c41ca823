"""Look at the built site in Chromium: widths, contrast, filters, the comparison, search.

pip install playwright           # without its browsers: the system's Chromium is used
npm install --prefix /tmp/axe axe-core
sphinx-build docs docs/_build
python tools/look_at_site.py --axe /tmp/axe/node_modules/axe-core/axe.min.js --shots /tmp/shots

Prints what is wrong, and exits with status 1 if anything is. Screenshots of the pages that differ
most, at 1280 and 400 pixels, light and dark, are for people to look at. Without --axe, contrast,
labels and alternative texts are not checked.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

import fastact as fa

ROOT = Path(__file__).parents[1]
WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")
#: One of each kind; what a copy lacks is left out.
KINDS = (
    "index",
    "gallery",
    "compare",
    "functions/leaky_relu",
    "functions/gelu",
    "auto_tutorials/plot_*",
    "how-it-works/pool",
    "reference/index",
    "reference/fused",
    "measurements",
    "overview",
)

mistakes: list[str] = []


def check(holds: bool, mistake: str) -> None:
    if not holds:
        print(f"- {mistake}", flush=True)
        mistakes.append(mistake)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def opened(browser: Browser, address: str, width: int, scheme: str = "light") -> Iterator[Page]:
    """A page that reports errors and whatever it asks other hosts for."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.on("pageerror", lambda error: check(False, f"{page.url}: {error}"))
    page.on("console", lambda m: check(m.type != "error", f"{page.url}: {m.text}"))
    page.on("request", lambda r: check(r.url.startswith(address), f"{page.url} asks for {r.url}"))
    yield page
    context.close()


# --- how pages look ------------------------------------------------------------------------------


def look(browser: Browser, address: str, pages: list[str], axe: str, shots: Path | None) -> None:
    for width in WIDTHS:
        for scheme in SCHEMES:
            with opened(browser, address, width, scheme) as page:
                for name in pages:
                    page.goto(f"{address}/{name}.html")
                    page.wait_for_load_state("networkidle")
                    if shots is not None:
                        file = shots / f"{name.replace('/', '-')}-{width}-{scheme}.png"
                        page.screenshot(path=file, full_page=True)
                    if axe:
                        accessible(page, axe, f"{name}, {width}, {scheme}")


def accessible(page: Page, axe: str, where: str) -> None:
    page.evaluate(axe)
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    for violation in found["violations"]:
        places = [node["target"][0] for node in violation["nodes"]]
        listed = ", ".join(map(str, places[:3]))
        check(False, f"{where}: {violation['id']} ({len(places)}): {listed}")


def fits(browser: Browser, address: str, pages: list[str]) -> None:
    width = min(WIDTHS)
    with opened(browser, address, width) as page:
        for name in pages:
            page.goto(f"{address}/{name}.html")
            wide = page.evaluate("document.documentElement.scrollWidth")
            check(wide <= width, f"{name}: {wide} pixels wide in a window of {width}")


# --- what pages do -------------------------------------------------------------------------------


def filter_gallery(page: Page, address: str) -> None:
    page.goto(f"{address}/gallery.html")
    cards = page.locator(".fa-card:visible")
    every = cards.count()
    page.get_by_label("bounded", exact=True).check()
    page.get_by_label("smooth").last.check()
    names = [name.split("\n")[0] for name in cards.all_inner_texts()]
    check("tanh" in names and "relu" not in names, f"bounded and smooth functions: {names}")
    page.get_by_label("bounded", exact=True).uncheck()
    page.get_by_label("smooth").last.uncheck()
    check(cards.count() == every, "without filters there are fewer cards than before")
    page.locator(".fa-card a", has_text="leaky_relu").first.click()
    check(page.url.endswith("functions/leaky_relu.html"), f"a card leads to {page.url}")


def compare(page: Page, address: str) -> None:
    """By keyboard: three functions, one with another slope; the curves are read back."""
    page.goto(f"{address}/compare.html")
    for index, name in enumerate(("leaky_relu", "mish", "elu")):
        page.get_by_label(f"Function {index + 1}").select_option(name)
    slope = page.get_by_label("negative_slope", exact=True)
    slope.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("0.3")
    check("leaky_relu:negative_slope=0.3,mish,elu" in page.url, f"the address is {page.url}")
    functions: dict[str, tuple[Any, Any]] = {
        "leaky_relu": (
            lambda x: fa.leaky_relu(x, 0.3),
            lambda x: fa.leaky_relu_backward(np.ones_like(x), x, 0.3),
        ),
        "mish": (fa.mish, lambda x: fa.mish_backward(np.ones_like(x), x)),
        "elu": (fa.elu, lambda x: fa.elu_backward(np.ones_like(x), x)),
    }
    for chart, which in (("value", 0), ("slope", 1)):
        for name, pair in functions.items():
            x, y, pixel = curve(page, chart, name)
            # Where it jumps, it is drawn on both sides.
            away = abs(x) > pixel
            error = abs(y - pair[which](x))[away].max()
            check(error < pixel, f"{name}, {chart}: up to {error} off the compiled function")
    before = page.locator("[role=status] li").all_inner_texts()
    page.get_by_label("scale of weights", exact=True).fill("0.3")
    after = page.locator("[role=status] li").all_inner_texts()
    check(len(after) == 3 and after != before, f"layers say {after}")
    check("vanishing" in " ".join(after), "small weights make no signal vanish")


def curve(page: Page, chart: str, name: str) -> tuple[Any, Any, float]:
    """Points of a curve, from where it is drawn, and what a pixel is in y."""
    svg = f"svg[data-chart={chart}]"
    frame = page.eval_on_selector(svg, "e => ({...e.dataset})")
    d = page.get_attribute(f"{svg} path[data-name={name}]", "d") or ""
    pairs = [pair.split() for pair in d.replace("M", "L").split("L") if pair]
    points = np.array(pairs, float)
    left, top, right, bottom = (float(frame[k]) for k in ("left", "top", "right", "bottom"))
    x0, x1, y0, y1 = (float(frame[k]) for k in ("x0", "x1", "y0", "y1"))
    x = x0 + (points[:, 0] - left) / (right - left) * (x1 - x0)
    y = y1 - (points[:, 1] - top) / (bottom - top) * (y1 - y0)
    return x, y, (y1 - y0) / (bottom - top)


def search(page: Page, address: str) -> None:
    page.goto(f"{address}/search.html?q=leaky_relu_backward")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    links = page.eval_on_selector_all("#search-results li a", "all => all.map((a) => a.href)")
    check(any("functions/leaky_relu" in link for link in links), f"search finds {links[:5]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--site", type=Path, default=ROOT / "docs" / "_build")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--axe", type=Path, help="axe.min.js of the npm package axe-core")
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    options = parser.parse_args()
    if options.shots is not None:
        options.shots.mkdir(parents=True, exist_ok=True)
    every = [
        file.relative_to(options.site).with_suffix("").as_posix()
        for file in sorted(options.site.rglob("*.html"))
        if "_static" not in file.parts
    ]
    kinds = [name for kind in KINDS for name in every if Path(name).match(kind)]
    axe = options.axe.read_text(encoding="utf-8") if options.axe else ""
    with served(options.site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox"]
        )
        look(browser, address, kinds, axe, options.shots)
        fits(browser, address, every)
        for visit in (filter_gallery, compare, search):
            with opened(browser, address, WIDTHS[0]) as page:
                visit(page, address)
        browser.close()
    print(f"{len(every)} pages, {len(kinds)} of them looked at closely: {len(mistakes)} mistakes")
    return int(bool(mistakes))


if __name__ == "__main__":
    sys.exit(main())
