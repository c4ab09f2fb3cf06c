"""Draw a picture as SVG: cards with words, and arrows between them, on a background, in light and dark colours."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SIZES = {"head": 13, "": 12, "mono": 12, "label": 12}  # pixels
# The ratio of width to height of characters in DejaVu Sans, the widest of the usual fonts. Bold is wider.
_NARROW, _SLIM, _WIDE = frozenset("ijlI.,:;'|"), frozenset("frt ()-/"), frozenset("mwMW")
_BOLD = {"head": 1.13, "label": 1.13}
_PADDING = 3
# Class: its colours of fill and line, light ones first, then dark ones.
_LOOKS = {
    "ground": ("#ffffff", "#d0d7de", "#0d1117", "#30363d"),
    "zone": ("#f6f8fa", "#d0d7de", "#151b23", "#30363d"),
    "plain": ("#ffffff", "#8c959f", "#0d1117", "#656c76"),
    "step": ("#ddf4ff", "#0969da", "#0c2d6b", "#4493f8"),
    "good": ("#dafbe1", "#1a7f37", "#0f2d1a", "#3fb950"),
    "warn": ("#fff8c5", "#9a6700", "#2e2407", "#d29922"),
    "bad": ("#ffebe9", "#cf222e", "#32111a", "#f85149"),
}
_STYLE = """
text { font: 12px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
.head { font-size: 13px; font-weight: 600 }
.label { font-weight: 600; fill: #59636e }
.mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace }
.middle { text-anchor: middle }
.arrow { stroke: #59636e; stroke-width: 1.5; fill: none; marker-end: url(#tip) }
#tip path { fill: #59636e }
"""
_DARK = "text { fill: #f0f6fc } .label { fill: #9198a1 } .arrow { stroke: #9198a1 } #tip path { fill: #9198a1 }"
_TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z"/></marker>'
)


class Picture:
    """The elements drawn so far; ``title`` and ``description`` are for people who do not see the picture."""

    def __init__(self, height: int, title: str, description: str, width: int = 800) -> None:
        self._size = width, height
        self._words = title, description
        self._parts: list[str] = []
        self._box("ground", 0.5, 0.5, width - 1, height - 1)

    def zone(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a background for cards that belong together."""
        self._box("zone", x, y, width, height)

    def card(self, look: str, box: tuple[float, float, float, float], head: str, *lines: str) -> None:
        """Draw a card of a size at x, y, with a heading and lines below it in the middle."""
        x, y, width, height = box
        self._box(look, *box)
        high = _SIZES["head"] + 16 * len(lines)
        baseline = y + (height - high) / 2 + _SIZES["head"] - 2
        self.text(x + width / 2, baseline, head, "head", room=width)
        self._lines(box, baseline + 17, lines)

    def words(self, look: str, box: tuple[float, float, float, float], *lines: str) -> None:
        """Draw a card without a heading."""
        _, y, _, height = box
        self._box(look, *box)
        self._lines(box, y + (height - 16 * len(lines)) / 2 + _SIZES[""], lines)

    def steps(self, cards: Iterable[Sequence[str]], x: float, y: float, size: tuple[float, float], gap: float) -> None:
        """Draw cards of one size beside each other, each with its look and its words, and arrows between them."""
        width, height = size
        for number, (look, head, *lines) in enumerate(cards):
            left = x + number * (width + gap)
            self.card(look, (left, y, width, height), head, *lines)
            if number:
                self.arrow((left - gap + 1, y + height / 2), (left - 1, y + height / 2))

    def text(self, x: float, y: float, words: str, look: str = "", *, room: float = 0) -> None:
        """Write words from x on, or centred at x if they have ``room``; raises ValueError if they do not fit."""
        if room and _width(words, look) > room - 2 * _PADDING:
            message = f"{words!r} does not fit into {room} pixels"
            raise ValueError(message)
        classes = " ".join(filter(None, (look, "middle" if room else "")))
        named = f' class="{classes}"' if classes else ""
        self._parts.append(f'<text{named} x="{x:g}" y="{y:g}">{escape(words, quote=False)}</text>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw a line along points, with a tip at its end."""
        way = " L".join(f"{x:g} {y:g}" for x, y in points)
        self._parts.append(f'<path class="arrow" d="M{way}"/>')

    def svg(self) -> str:
        """Return the whole picture."""
        width, height = self._size
        title, description = map(escape, self._words)
        body = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'role="img" aria-labelledby="title description">\n'
            f'<title id="title">{title}</title>\n<desc id="description">{description}</desc>\n'
            f"<style>{_STYLE}{_dress(light=True)}\n@media (prefers-color-scheme: dark) {{\n{_DARK}\n{_dress(light=False)}\n}}\n"
            f"</style>\n<defs>{_TIP}</defs>\n{body}\n</svg>\n"
        )

    def _lines(self, box: tuple[float, float, float, float], baseline: float, lines: Sequence[str]) -> None:
        x, _, width, _ = box
        for number, line in enumerate(lines):
            self.text(x + width / 2, baseline + 16 * number, line, room=width)

    def _box(self, look: str, x: float, y: float, width: float, height: float) -> None:
        self._parts.append(f'<rect class="{look}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>')


def _width(words: str, look: str) -> float:
    sizes = (0.32 if one in _NARROW else 0.4 if one in _SLIM else 0.92 if one in _WIDE else 0.63 for one in words)
    return sum(sizes) * _SIZES[look] * _BOLD.get(look, 1)


def _dress(*, light: bool) -> str:
    return "\n".join(_rules(light=light))


def _rules(*, light: bool) -> Iterable[str]:
    for name, (fill, line, dark_fill, dark_line) in _LOOKS.items():
        yield f".{name} {{ fill: {fill if light else dark_fill}; stroke: {line if light else dark_line} }}"
