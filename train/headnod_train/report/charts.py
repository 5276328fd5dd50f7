"""Charts as SVG and HTML that take their colours from the page, so they follow it from light to dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from headnod_train.evaluation.metrics import Share

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 18, 10, 40
_DARK = 0.55
"""Share from which a cell of a heat table is dark enough for light letters."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One side of a chart."""

    name: str
    """What it shows, with its unit."""

    low: float
    high: float
    ticks: tuple[float, ...]
    percent: bool = True
    """Labels are percentages."""

    def label(self, value: float) -> str:
        """A tick in words."""
        return f"{value:.0%}" if self.percent else f"{value:g}"

    def share(self, value: float) -> float:
        """Where a value lies between the ends (0-1)."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def lines(
    title: str, across: Axis, up: Axis, curves: Sequence[tuple[str, Sequence[Point]]], *, even: bool = False
) -> str:
    """Curves with a dot at each point.

    Args:
        title: Said to who cannot see it.
        across: The horizontal axis.
        up: The vertical axis.
        curves: Name and points of each, at most three.
        even: Draw the diagonal where both axes are equal.
    """
    drawn = [f'<line class="even" {_line(_at(across, up, 0.0, 0.0), _at(across, up, 1.0, 1.0))}/>'] if even else []
    for number, (name, points) in enumerate(curves):
        places = [_at(across, up, *point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline class="curve c{number}" points="{path}"/>')
        drawn += [
            f'<circle class="dot c{number}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{escape(name)}: '
            f"{across.label(point[0])}, {up.label(point[1])}</title></circle>"
            for (x, y), point in zip(places, points, strict=True)
        ]
    return _chart(title, across, up, drawn) + _legend([name for name, _ in curves])


def histogram(title: str, across: Axis, values: Sequence[float], width: float) -> str:
    """How many values fall into each step of so much."""
    steps = round((across.high - across.low) / width)
    counts = [0] * steps
    for value in values:
        counts[min(int((value - across.low) / width), steps - 1)] += 1
    most = max(*counts, 1)
    up = Axis("changes", 0.0, most, tuple(sorted({0.0, float(most // 2), float(most)})), percent=False)
    bars = []
    for step, count in enumerate(counts):
        left, top = _at(across, up, across.low + step * width, count)
        right, bottom = _at(across, up, across.low + (step + 1) * width, 0.0)
        bars.append(
            f'<rect class="bar" x="{left + 1:.1f}" y="{top:.1f}" width="{right - left - 2:.1f}" '
            f'height="{bottom - top:.1f}"><title>{count}</title></rect>'
        )
    return _chart(title, across, up, bars)


def heat(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """What was taken for what, darker the more of its row it is."""
    head = "".join(f'<th scope="col"><span>{escape(label)}</span></th>' for label in labels)
    rows = []
    for place, (label, row) in enumerate(zip(labels, counts, strict=True)):
        whole = max(sum(row), 1)
        cells = "".join(
            f'<td class="{"right" if column == place else ""}{" dark" if count / whole > _DARK else ""}" '
            f'style="--share:{100 * count / whole:.0f}%" title="{escape(label)} taken for '
            f'{escape(labels[column])}: {count} of {sum(row)}">{count or ""}</td>'
            for column, count in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    body = f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table class="heat">{body}</table></div>'


def bar(name: str, share: Share | float, *, text: str, mark: float | None = None, kind: int = 0) -> str:
    """One row of a bar chart, with its interval where it has one.

    Args:
        name: Of the row.
        share: Its length (0-1).
        text: What stands behind it.
        mark: Where a line stands to compare with (0-1).
        kind: Number of its colour.
    """
    value = share.accuracy if isinstance(share, Share) else share
    extra = ""
    if isinstance(share, Share):
        low, high = share.ci95
        extra = f'<s style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></s>'
    if mark is not None:
        extra += f'<u style="left:{100 * mark:.1f}%"></u>'
    return (
        f'<div class="row"><span class="name">{escape(name)}</span><span class="track">'
        f'<b class="c{kind}" style="width:{100 * value:.1f}%"></b>{extra}</span>'
        f'<span class="value">{escape(text)}</span></div>'
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Words in the first column, figures in the others."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _chart(title: str, across: Axis, up: Axis, drawn: Sequence[str]) -> str:
    grid = []
    for tick in across.ticks:
        x, y = _at(across, up, tick, up.low)
        grid.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{across.label(tick)}</text>')
    for tick in up.ticks:
        left, right = _at(across, up, across.low, tick), _at(across, up, across.high, tick)
        grid.append(f'<line class="grid" {_line(left, right)}/>')
        grid.append(f'<text x="{left[0] - 6:.1f}" y="{left[1] + 4:.1f}" text-anchor="end">{up.label(tick)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    grid.append(
        f'<text class="axis" x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(across.name)}</text>'
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text class="axis" x="0" y="0" transform="translate(11,{(_HEIGHT - _BOTTOM + _TOP) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(up.name)}</text>{"".join(grid)}{"".join(drawn)}</svg>'
    )


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:  # noqa: PLR2004 - one curve needs no key
        return ""
    keys = "".join(f'<span><i class="c{number}"></i>{escape(name)}</span>' for number, name in enumerate(names))
    return f'<p class="legend">{keys}</p>'


def _at(across: Axis, up: Axis, x: float, y: float) -> Point:
    return (
        _LEFT + across.share(x) * (_WIDTH - _LEFT - _RIGHT),
        _HEIGHT - _BOTTOM - up.share(y) * (_HEIGHT - _TOP - _BOTTOM),
    )


def _line(start: Point, end: Point) -> str:
    return f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
