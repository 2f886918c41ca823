"""Draw the pictures of ``docs/how-it-works``: one SVG for each page, put into it as it is.

They have the text colour of the page that they are in, so they are light and dark as it is. Sizes
are chosen for a phone: at 360 pixels, letters are ten pixels high.

python tools/drawings.py          # write them
python tools/drawings.py --check  # exit status 1 if a file says something else than this does
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from fastact.cpu import layout
from fastact.memory import layout as memory_layout

DIRECTORY = Path(__file__).parents[1] / "docs" / "how-it-works" / "drawings"

WIDTH = 560
LETTERS, SMALL = 16, 14
LINE = 20
#: Lie over white and over black alike. What a colour says is always said by words, too.
BLUE, ORANGE, GREEN, NONE = "#2f7ed8", "#d9730d", "#2e9e5b", "none"

#: Exponents.
X, K = "\N{MODIFIER LETTER SMALL X}", "\N{MODIFIER LETTER SMALL K}"

Point = tuple[float, float]


class Drawing:
    """A picture made of boxes, arrows and words; the origin is at the top left."""

    def __init__(self, about: str, height: int) -> None:
        self.about = about
        self.height = height
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *lines: str,
        color: str = NONE,
        dashed: bool = False,
        code: bool = False,
        letters: int = LETTERS,
    ) -> None:
        """A rectangle with lines of text in its middle."""
        fill = "none" if color == NONE else f'{color}" fill-opacity="0.22'
        stroke = "currentColor" if color == NONE else color
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="5" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="1.5"{dashes}/>'
        )
        top = y + height / 2 - (len(lines) - 1) * LINE / 2 + letters * 0.35
        for i, line in enumerate(lines):
            self.text(x + width / 2, top + i * LINE, line, code=code, letters=letters)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "middle",
        code: bool = False,
        bold: bool = False,
        letters: int = LETTERS,
    ) -> None:
        family = ' font-family="ui-monospace, monospace"' if code else ""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" font-size="{letters}"'
            f'{family}{weight} fill="currentColor">{escape(text)}</text>'
        )

    def line(
        self, *points: Point, color: str = "currentColor", width: float = 1.5, dashed: bool = False
    ) -> None:
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" '
            f'stroke-width="{width}"{dashes}/>'
        )

    def arrow(self, *points: Point, color: str = "currentColor", dashed: bool = False) -> None:
        """A line from the first point to the last one, with a head there."""
        (x0, y0), (x1, y1) = points[-2:]
        angle = math.atan2(y1 - y0, x1 - x0)
        corners = [
            (x1 - 10 * math.cos(angle + turn), y1 - 10 * math.sin(angle + turn))
            for turn in (-0.4, 0.4)
        ]
        shaft = (x1 - 6 * math.cos(angle), y1 - 6 * math.sin(angle))
        self.line(*points[:-1], shaft, color=color, dashed=dashed)
        head = " ".join(f"{_n(x)},{_n(y)}" for x, y in [(x1, y1), *corners])
        self._parts.append(f'<polygon points="{head}" fill="{color}"/>')

    def dot(self, x: float, y: float, color: str) -> None:
        self._parts.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="5" fill="{color}"/>')

    def svg(self) -> str:
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
                f'role="img" aria-label="{escape(self.about)}" '
                'style="display: block; width: 100%; max-width: 42rem; margin: 1.5rem auto" '
                'font-family="system-ui, sans-serif">',
                *self._parts,
                "</svg>\n",
            ]
        )


def _n(number: float) -> str:
    """A coordinate, to a tenth."""
    return f"{number:.1f}".removesuffix(".0")


# --- the drawings -------------------------------------------------------------------------------


def ufuncs() -> Drawing:
    """A call, the table of loops, and what is behind an entry of it."""
    d = Drawing(
        "fa.relu(x) is a NumPy ufunc. NumPy looks up the loop for the array's dtype in a table. "
        "An entry that was used before leads to the driver and from there to the serial loop, both "
        "machine code. Any other leads to a placeholder in Python, which loads or compiles the "
        "kernel, puts the driver's address into the table, and then runs the call.",
        480,
    )
    d.box(150, 10, 260, 34, "fa.relu(x, out=y)", code=True)
    d.arrow((280, 44), (280, 74))
    d.box(
        60, 74, 440, 62, "NumPy: casting, broadcasting, overlap,", "subclasses, errors", color=GREEN
    )
    d.arrow((280, 136), (280, 174))
    d.text(292, 160, "which loop?", anchor="start", letters=SMALL)
    d.text(16, 168, "table of loops", anchor="start", bold=True)
    for i, dtype in enumerate(("float16", "float32", "float64", "int32")):
        y = 178 + 34 * i
        used = dtype == "float32"
        d.box(16, y, 108, 34, dtype, code=True)
        d.box(124, y, 128, 34, "driver" if used else "placeholder", color=BLUE if used else ORANGE)
    d.arrow((252, 229), (330, 206), color=BLUE)
    d.box(330, 184, 214, 44, "driver", color=BLUE)
    d.arrow((437, 228), (437, 258), color=BLUE)
    d.box(330, 258, 214, 56, "serial loop, or pieces", "of it on several threads", color=BLUE)
    d.text(437, 334, "machine code", letters=SMALL)
    d.arrow((188, 314), (188, 364), color=ORANGE)
    d.box(16, 364, 344, 62, "placeholder, in Python: loads", "or compiles the kernel", color=ORANGE)
    d.arrow((60, 364), (60, 316), dashed=True, color=ORANGE)
    d.text(
        16,
        452,
        "once for each dtype: it puts the driver into the table,",
        anchor="start",
        letters=SMALL,
    )
    d.text(16, 470, "and runs the call that came", anchor="start", letters=SMALL)
    return d


def pool() -> Drawing:
    """Three lanes in time."""
    d = Drawing(
        "Three lanes over time. The caller publishes a job of eight pieces and runs pieces 0 to 4 "
        "from the front. A worker that was awake runs pieces 7, 6 and 5 from the back. A second "
        "worker was asleep and comes when every piece is claimed: it finds nothing to do, and "
        "nobody waited for it. The caller returns when piece 5, which was under way, is done.",
        400,
    )
    d.text(16, 26, "the job: eight pieces, and a ticket", anchor="start", bold=True)
    for piece in range(8):
        d.box(60 + 55 * piece, 60, 55, 34, str(piece), color=BLUE if piece < 5 else ORANGE)
    d.arrow((60, 48), (150, 48), color=BLUE)
    d.text(158, 53, "the caller", anchor="start", letters=SMALL)
    d.arrow((500, 48), (410, 48), color=ORANGE)
    d.text(402, 53, "workers", anchor="end", letters=SMALL)

    left, unit = 120, 66
    lanes = {"caller": 150, "worker 1": 210, "worker 2": 270}
    for name, y in lanes.items():
        d.text(16, y + 22, name, anchor="start", bold=True)
        d.line((left - 6, y + 36), (550, y + 36), width=0.5)
    y = lanes["caller"]
    d.box(left, y, 30, 34, color=GREEN)
    for i in range(5):
        d.box(left + 30 + unit * i, y, unit, 34, str(i), color=BLUE)
    y = lanes["worker 1"]
    for i, piece in enumerate((7, 6, 5)):
        start = left + 50 + 1.75 * unit * i
        d.box(start, y, 1.75 * unit, 34, str(piece), color=ORANGE)
    end = left + 50 + 1.75 * unit * 3
    y = lanes["worker 2"]
    d.box(left + 50, y, 4.9 * unit, 34, "asleep, or waiting for a core", dashed=True)
    d.line((end, 138), (end, 312), color=GREEN, width=2)
    d.arrow((left, 322), (550, 322))
    d.text(550, 344, "time", anchor="end", letters=SMALL)
    d.text(left, 344, "publishes the job", anchor="start", letters=SMALL)
    d.text(end + 4, 366, "returns: all that was claimed is done", anchor="end", letters=SMALL)
    d.text(end + 4, 386, "worker 2 was never waited for", anchor="end", letters=SMALL)
    return d


def streaming() -> Drawing:
    """What goes through the memory bus, with either kind of store."""
    tile = f"{layout.TILE_BYTES // 1024} KiB tile"
    d = Drawing(
        "With ordinary stores three arrays go between cache and memory: the input is read, the "
        "output's old contents are read, the output is written. With streaming stores there are "
        "two: the input is read, and results, computed into a small tile in the first-level cache, "
        "are written past the caches.",
        470,
    )

    def half(top: float, title: str) -> None:
        d.text(16, top, title, anchor="start", bold=True)
        d.box(16, top + 16, 150, 150, "core", "and L1 cache")
        d.box(230, top + 16, 100, 150, "caches", dashed=title.startswith("streaming"))
        d.box(420, top + 16, 124, 150, "memory")

    half(26, "ordinary stores: three journeys")
    y = 26
    d.arrow((420, y + 40), (330, y + 40), color=BLUE)
    d.arrow((230, y + 40), (166, y + 40), color=BLUE)
    d.text(375, y + 34, "input", letters=SMALL)
    d.arrow((420, y + 91), (330, y + 91), color=ORANGE)
    d.text(375, y + 85, "old output", letters=SMALL)
    d.arrow((166, y + 142), (230, y + 142), color=GREEN)
    d.arrow((330, y + 142), (420, y + 142), color=GREEN)
    d.text(375, y + 136, "output", letters=SMALL)

    half(250, "streaming stores: two")
    y = 250
    d.arrow((420, y + 40), (330, y + 40), color=BLUE)
    d.arrow((230, y + 40), (166, y + 40), color=BLUE)
    d.text(375, y + 34, "input", letters=SMALL)
    d.box(30, y + 116, 122, 36, tile, color=GREEN, letters=SMALL)
    d.arrow(
        (152, y + 142), (192, y + 142), (192, y + 186), (480, y + 186), (480, y + 168), color=GREEN
    )
    d.text(336, y + 206, "output, one cache line of 64 bytes at a time", letters=SMALL)
    return d


def cache() -> Drawing:
    """Where machine code comes from."""
    d = Drawing(
        "A kernel's key is a hash of all that its machine code depends on. If the cache directory "
        "has a file of that name, it is loaded in about a millisecond. Otherwise LLVM compiles: "
        "from the IR in the wheel's archive if there is an entry of that key, else from IR that "
        "Numba makes from the source. What was compiled is written to the cache.",
        520,
    )
    d.box(
        90,
        10,
        380,
        76,
        "key: a hash of the loop's source,",
        "its helpers, LLVM's version,",
        "traits of the CPU",
        color=GREEN,
    )
    d.arrow((280, 86), (280, 118))
    d.box(60, 118, 300, 56, "in the cache directory?", "plus a hash of the CPU's name")
    d.arrow((360, 146), (420, 146))
    d.text(390, 138, "yes", letters=SMALL)
    d.arrow((210, 174), (210, 210))
    d.text(222, 198, "no", anchor="start", letters=SMALL)
    d.box(60, 210, 300, 44, "IR in the wheel's archive?")
    d.arrow((360, 232), (420, 232))
    d.text(390, 224, "yes", letters=SMALL)
    d.arrow((210, 254), (210, 290))
    d.text(222, 278, "no", anchor="start", letters=SMALL)
    d.box(
        60,
        290,
        300,
        56,
        "Numba makes IR of the source",
        "(of driver functions: our own)",
        color=ORANGE,
    )
    d.arrow((360, 318), (420, 318))
    d.box(420, 210, 124, 136, "LLVM", "for the CPU", "at hand", color=BLUE)
    d.box(420, 118, 124, 56, "machine", "code", color=BLUE)
    d.arrow((482, 210), (482, 174))
    d.arrow((482, 346), (482, 400), (40, 400), (40, 146), (60, 146), dashed=True)
    d.text(270, 422, "written to the cache for later processes", letters=SMALL)
    d.text(16, 460, "loaded from the cache", anchor="start")
    d.text(544, 460, "about 1 ms", anchor="end")
    d.text(16, 484, "LLVM, from the archive's IR", anchor="start")
    d.text(544, 484, "some 0.1 s", anchor="end")
    d.text(16, 508, "from source, with Numba", anchor="start")
    d.text(544, 508, "about 1 s the first time", anchor="end")
    return d


def accuracy() -> Drawing:
    """An exponential: many short pieces of one curve; and what an ulp is."""
    d = Drawing(
        "Above: the curve of e to the x, cut into intervals of width log 2. In each it is the same "
        "short curve, a polynomial of r, times a power of two. Below: neighbouring floating-point "
        "numbers one ulp apart, the right result between two of them, half an ulp at most from "
        "the nearer one.",
        520,
    )
    d.text(16, 26, f"one polynomial for all of e{X}", anchor="start", bold=True)
    log2 = math.log(2)
    left, right, bottom, top = 40, 540, 250, 44
    low, high = -3.5 * log2, 1.5 * log2

    def place(x: float) -> Point:
        return (
            left + (x - low) / (high - low) * (right - left),
            bottom - math.exp(x) / math.exp(high) * (bottom - top),
        )

    d.arrow((left - 10, bottom), (right + 14, bottom))
    for k in range(-3, 2):
        start, end = (k - 0.5) * log2, (k + 0.5) * log2
        points = [place(start + (end - start) * i / 24) for i in range(25)]
        color = BLUE if k % 2 else ORANGE
        d.line(*points, color=color, width=3.5)
        d.line((points[0][0], bottom + 6), (points[0][0], points[0][1]), width=0.5)
        d.text(
            (points[0][0] + points[-1][0]) / 2,
            bottom + 24,
            f"k = {k}".replace("-", "\N{MINUS SIGN}"),
            letters=SMALL,
        )
    d.text(56, 84, f"e{X} = 2{K} (1 + p)", anchor="start")
    d.text(56, 108, "k: x / log 2, rounded", anchor="start", letters=SMALL)
    d.text(56, 128, "r = x \N{MINUS SIGN} k log 2, in two steps", anchor="start", letters=SMALL)
    d.text(
        56,
        148,
        "p = r + r\N{SUPERSCRIPT TWO} q(r), the same for all k",
        anchor="start",
        letters=SMALL,
    )
    d.text(56, 168, f"2{K}: an addition to the exponent's bits", anchor="start", letters=SMALL)

    d.text(16, 318, "what an ulp is", anchor="start", bold=True)
    y, step = 390, 104
    d.line((20, y), (545, y))
    for i in range(6):
        d.line((26 + step * i * 0.99, y - 9), (26 + step * i * 0.99, y + 9), width=2)
    first = 26 + step * 0.99
    d.line(
        (first, y - 22),
        (first, y - 30),
        (first + step * 0.99, y - 30),
        (first + step * 0.99, y - 22),
        color=BLUE,
    )
    d.text(first + step / 2, y - 38, "one ulp", letters=SMALL)
    right_place = 26 + step * 0.99 * 3.3
    d.dot(right_place, y, ORANGE)
    d.arrow((right_place, y - 34), (right_place, y - 8), color=ORANGE)
    d.text(right_place, y - 40, "the right result", letters=SMALL)
    nearest = 26 + step * 0.99 * 3
    d.arrow((nearest, y + 44), (nearest, y + 12), color=GREEN)
    d.text(nearest, y + 62, "rounded right: 0.3 ulp off", letters=SMALL)
    d.text(nearest, y + 82, "(half an ulp at most)", letters=SMALL)
    second = 26 + step * 0.99
    d.arrow((second, y + 44), (second, y + 12), color=GREEN)
    d.text(second, y + 62, "2.3 ulp off:", letters=SMALL)
    d.text(second, y + 82, "beyond our bound", letters=SMALL)
    d.text(16, y + 118, "numbers that float32 has", anchor="start", letters=SMALL)
    return d


def memory() -> Drawing:
    """Size classes with their free blocks, and one block."""
    d = Drawing(
        "Above: lists of free blocks, one for each size class. A new array takes the block of its "
        "class that was freed last; a freed array's block goes to the front of its list; the "
        "blocks freed first go back to the system when there are too many bytes, or after ten "
        "seconds. Below: a block is whole pages; the header is at their beginning, and the data "
        "begin half a page later.",
        480,
    )
    d.text(16, 26, "free blocks, by size class", anchor="start", bold=True)
    classes = ["1 MiB", "1.125", "1.25", "1.375", "1.5 MiB"]
    counts = [2, 0, 3, 1, 0]
    for i, (name, count) in enumerate(zip(classes, counts, strict=True)):
        x = 26 + 74 * i
        d.box(x, 44, 64, 30, name, letters=SMALL)
        for j in range(count):
            d.box(x + 4, 80 + 28 * j, 56, 24, color=BLUE)
    d.text(420, 64, "eight classes for", anchor="start", letters=SMALL)
    d.text(420, 82, "each power of two", anchor="start", letters=SMALL)
    d.arrow((234, 92), (250, 92), (250, 176), color=GREEN)
    d.arrow((14, 176), (14, 92), (30, 92), color=ORANGE)
    d.box(120, 176, 172, 50, "new array: gets", "what was freed last", color=GREEN, letters=SMALL)
    d.box(10, 176, 100, 50, "freed: to", "the front", color=ORANGE, letters=SMALL)
    d.arrow((234, 148), (420, 148), dashed=True)
    d.box(
        420,
        106,
        130,
        90,
        "freed first: to",
        "the system, at",
        "the bound or",
        "after 10 s",
        letters=SMALL,
        dashed=True,
    )

    d.text(16, 274, "a block: whole pages", anchor="start", bold=True)
    half = memory_layout.HEADER_BYTES
    d.box(16, 290, 528, 60)
    d.box(16, 290, 66, 60, "header", letters=SMALL, color=ORANGE)
    d.box(148, 290, 360, 60, "the array's data", color=BLUE)
    for page in range(5):
        d.line((16 + 132 * page, 350), (16 + 132 * page, 366), width=1)
    d.text(82, 384, "one page", letters=SMALL)
    d.line((148, 284), (148, 350))
    d.text(148, 410, f"the data begin {half} bytes into a page;", anchor="start", letters=SMALL)
    d.text(
        148, 430, "whether there is a header in front of them says", anchor="start", letters=SMALL
    )
    d.text(148, 450, "whose memory it is", anchor="start", letters=SMALL)
    return d


DRAWINGS: Sequence[Callable[[], Drawing]] = (ufuncs, pool, streaming, cache, accuracy, memory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for draw in DRAWINGS:
        path = DIRECTORY / f"{draw.__name__}.svg"
        content = draw().svg()
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != content:
                stale.append(path.name)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    if stale:
        print(f"not as tools/drawings.py draws them: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
