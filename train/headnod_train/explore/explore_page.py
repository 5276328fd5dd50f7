"""The page of an exploration: one HTML file beside its pictures, for light and dark and for a phone.

No script and nothing from elsewhere, so it opens from a disk in ten years.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from headnod_train.explore.label_errors import NEAR, LabelCheck
from headnod_train.explore.plotting import DARK, write

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b2a41; --soft: #5a6675; --line: #d9dee5; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14181f; --ink: #e6e9ef; --soft: #a3adba; --line: #333b47; --card: #1b2029; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0.25rem; }
p { max-width: 46rem; margin: 0.25rem 0 0.75rem; color: var(--soft); }
.warning { color: var(--ink); border-left: 0.3rem solid #c33; padding: 0.5rem 0.75rem; background: var(--card); }
.facts { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; margin: 1rem 0; padding: 0; list-style: none; }
.facts b { display: block; font-size: 1.4rem; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 0.5rem; }
.wide img { display: block; width: 100%; min-width: 40rem; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.75rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
td.number, th.number { text-align: right; }
tr:last-child td { border-bottom: 0; }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin: 1rem 0; }
a { color: inherit; }
"""


@dataclass(frozen=True)
class PagePicture:
    """A picture with its words."""

    file: str
    """File name of the light picture."""

    title: str
    """What it shows, in a few words."""

    caption: str
    """How to read it."""


def write_page(
    path: Path,
    *,
    title: str,
    warning: str,
    facts: Sequence[tuple[str, str]],
    plates: Sequence[PagePicture],
    opinions: Sequence[LabelCheck],
    most: int,
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: What was explored.
        warning: What must be known before anything else, or nothing.
        facts: Figures and what they count.
        plates: Pictures, in order.
        opinions: Suspicious labels, the most doubtful first.
        most: How many of them are shown.
    """
    links = "".join(f'<a href="#{_anchor(plate)}">{escape(plate.title)}</a>' for plate in plates)
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n",
        f'<p class="warning">{escape(warning)}</p>\n' if warning else "",
        '<ul class="facts">',
        *(f"<li><b>{escape(figure)}</b>{escape(words)}</li>" for figure, words in facts),
        f'</ul>\n<nav>{links}<a href="#labels">Suspicious labels</a></nav>\n',
        *(_plate(plate) for plate in plates),
        _labels(opinions, most),
        "</html>\n",
    ]
    write(path, "".join(parts).encode())


def _plate(plate: PagePicture) -> str:
    dark = f"{plate.file.removesuffix('.png')}{DARK.suffix}.png"
    return (
        f'<section id="{_anchor(plate)}">\n<h2>{escape(plate.title)}</h2>\n<p>{escape(plate.caption)}</p>\n'
        f'<div class="wide"><picture><source srcset="{escape(dark)}" media="(prefers-color-scheme: dark)">'
        f'<img src="{escape(plate.file)}" alt="{escape(plate.title)}"></picture></div>\n</section>\n'
    )


def _labels(opinions: Sequence[LabelCheck], most: int) -> str:
    head = '<section id="labels">\n<h2>Suspicious labels</h2>\n'
    if not opinions:
        return f"{head}<p>No track sounds clearly like another genre to both judges.</p>\n</section>\n"
    shown = opinions[:most]
    rows = "".join(
        f"<tr><td>{escape(each.track)}</td><td>{escape(each.genre)}</td><td>{escape(each.other)}</td>"
        f'<td class="number">{each.other_chance:.0%}</td><td class="number">{each.own_chance:.0%}</td>'
        f'<td class="number">{each.other_near}</td><td class="number">{each.own_near}</td></tr>\n'
        for each in shown
    )
    return (
        f"{head}<p>{len(opinions)} tracks sound like another genre to a regression that learned from other artists and "
        f"to their {NEAR} nearest tracks of other artists. Listen before you change anything: a label may be wrong, a "
        f"track may be an odd one, and genres overlap. suspicious.csv has every track.</p>\n"
        '<div class="wide"><table>\n<tr><th>track</th><th>label</th><th>sounds like</th>'
        '<th class="number">chance of that</th><th class="number">of the label</th>'
        '<th class="number">near tracks with that</th><th class="number">with the label</th></tr>\n'
        f"{rows}</table></div>\n</section>\n"
    )


def _anchor(plate: PagePicture) -> str:
    return plate.file.removesuffix(".png")
