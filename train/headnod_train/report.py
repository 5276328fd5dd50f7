"""Figures and pages: matplotlib in two themes, HTML by Jinja2, and links to the audio files of tracks.

The only module that configures matplotlib, so a genre has the same colour and shape in every figure. A page is one
file without scripts that loads nothing from the network.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile
from markupsafe import Markup, escape
from numpy.typing import NDArray

from headnod.errors import AudioError, MissingExtraError
from headnod.outputs import colours
from headnod.system import how_to_install
from headnod_train.dataset.archive import Archive
from headnod_train.dataset.extraction import excerpt
from headnod_train.dataset.tracks import find_files
from headnod_train.degradation import Degrader
from headnod_train.storage import write_file

try:
    from matplotlib import font_manager, rcParams
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    _MESSAGE = f"figures need matplotlib: {how_to_install('train')} ({error})"
    raise MissingExtraError(_MESSAGE) from error
try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ImportError as error:
    _MESSAGE = f"pages need Jinja2: {how_to_install('train')} ({error})"
    raise MissingExtraError(_MESSAGE) from error

__all__ = [
    "CONTRAST", "DARK", "LIGHT", "THEMES", "Axes", "Figure", "Mark", "MaxNLocator", "Rectangle", "SourceFiles", "Theme",
    "contrast", "css_variables", "degraded_examples", "genre_marks", "inline_svg", "letters_without_glyphs",
    "new_figure", "render", "rgb", "save_png", "small_multiples", "style_axes", "typical_tracks",
]  # fmt: skip

_FONTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Devanagari", "Noto Sans Thai",
    "IPAGothic", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Unifont",
)  # fmt: skip
# Labels are not formulas; each letter is taken from the first installed font that has it.
rcParams["text.parse_math"] = False
rcParams["svg.hashsalt"] = "headnod"
rcParams["font.family"] = [name for name in _FONTS if name in set(font_manager.get_font_names())]

CONTRAST = 3.0
"""Least contrast of a mark with its background, as WCAG 2.2 requires of graphics (1.4.11)."""
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "h", "*")
_STEPS = 9
_APART = 0.1
"""Least distance of two colours in OKLab, if there is room."""


@dataclass(frozen=True)
class Theme:
    """Colours of figures and pages, as hexadecimal strings."""

    suffix: str
    """End of the names of PNG files, before `.png`."""

    ground: str
    """Background."""

    ink: str
    """Text, axes and the first series."""

    first: str
    """The first of several series."""

    second: str
    faint: str
    """Grids and references."""


LIGHT = Theme("", "#ffffff", "#1b2a41", "#1f6feb", "#c2410c", "#c9d0da")
DARK = Theme("-dark", "#14181f", "#e6e9ef", "#6aa6ff", "#fb9a5c", "#424a57")
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Mark:
    """Colour and shape of a genre."""

    colour: str
    """Such as `#00ffee`."""

    shape: str
    """A matplotlib marker, for readers who cannot distinguish the colours."""


def genre_marks(labels: Sequence[str], theme: Theme) -> dict[str, Mark]:
    """A mark for each label, visible on the background.

    Colours are those of the listener's lights. A colour with too little contrast is replaced by the nearest visible
    one in OKLab (Ottosson, 2020) that differs from all others.
    """
    chosen = {label: np.array(colour) / 255 for label, colour in colours(labels).items()}
    hidden = [label for label, colour in chosen.items() if contrast(colour, rgb(theme.ground)) < CONTRAST]
    taken = [colour for label, colour in chosen.items() if label not in hidden]
    free = _visible(theme)
    for label in hidden:
        chosen[label] = _nearest(chosen[label], free, taken)
        taken.append(chosen[label])
    return {
        label: Mark("#" + bytes(np.rint(255 * chosen[label]).astype(np.uint8)).hex(), _SHAPES[place % len(_SHAPES)])
        for place, label in enumerate(labels)
    }


def contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Contrast ratio of colours (..., 3) in 0-1, by WCAG 2.2: from 1 to 21."""
    bright, dark = np.maximum(_luminance(one), _luminance(other)), np.minimum(_luminance(one), _luminance(other))
    return np.asarray((bright + 0.05) / (dark + 0.05))


def rgb(hexadecimal: str) -> NDArray[np.float64]:
    """A colour such as `#00ffee` as three numbers in 0-1."""
    return np.array([int(hexadecimal[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def new_figure(theme: Theme, width: float, height: float) -> Figure:
    """An empty figure; width and height in inches."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor=theme.ground)


def style_axes(axes: Axes, theme: Theme, *, grid: str = "") -> Axes:
    """Axes in the theme's colours, with a grid along `x`, `y` or neither."""
    axes.set_facecolor(theme.ground)
    axes.tick_params(colors=theme.ink, length=0, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for words in (axes.xaxis.label, axes.yaxis.label, axes.title):
        words.set_color(theme.ink)
    if grid:
        axes.grid(axis=grid, color=theme.faint, linewidth=0.7)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
    return axes


def small_multiples(theme: Theme, labels: Sequence[str], *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with one small plot for each label, at most five in a row."""
    columns = min(5, len(labels))
    rows = -(-len(labels) // columns)
    figure = new_figure(theme, max(columns * width, 4.0), rows * height + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, label in zip(grid, labels, strict=False):
        style_axes(axes, theme).set_title(label, fontsize=10)
    for axes in grid[len(labels) :]:
        axes.set_axis_off()
    return figure, list(grid[: len(labels)])


def letters_without_glyphs(labels: Sequence[str]) -> str:
    """Letters of labels that are missing in every font; they are drawn as boxes."""
    fonts = [font_manager.get_font(font_manager.findfont(family)) for family in rcParams["font.family"]]
    letters = sorted({letter for label in labels for letter in label})
    return "".join(letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in fonts))


def save_png(folder: Path, name: str, draw: Callable[[Theme], Figure]) -> str:
    """Draw a figure in both themes.

    Returns:
        File name of the light one.

    Raises:
        OSError: A file cannot be written.
    """
    for theme in THEMES:
        picture = io.BytesIO()
        with _without_glyph_warnings():
            draw(theme).savefig(picture, format="png", facecolor=theme.ground, bbox_inches="tight")
        write_file(folder / f"{name}{theme.suffix}.png", picture.getvalue())
    return f"{name}.png"


def inline_svg(title: str, draw: Callable[[Theme], Figure], labels: Sequence[str] = ()) -> Markup:
    """A figure as SVG for an HTML page, with the colours of the theme as CSS variables (see `css_variables`).

    The title is the description for screen readers; `labels` are genres whose colours the figure uses.
    """
    picture = io.StringIO()
    with _without_glyph_warnings():
        draw(LIGHT).savefig(picture, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    svg = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|\s*xmlns(:\w+)?=\"[^\"]*\"", "", picture.getvalue(), flags=re.DOTALL
    )
    # Ids are unique in a file, not in a page with several figures.
    prefix = f"f{zlib.crc32(title.encode()):08x}-"
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}", svg[svg.index("<svg") :])
    for name, colour in _variables(LIGHT, labels):
        svg = re.sub(colour, f"var(--{name})", svg, flags=re.IGNORECASE)
    svg = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg role="img" aria-label="{escape(title)}" \1>', svg)
    return Markup(svg)  # noqa: S704 - written by matplotlib, with text as paths


def css_variables(theme: Theme, labels: Sequence[str] = ()) -> str:
    """Declarations of the CSS variables that figures use."""
    return " ".join(f"--{name}: {colour};" for name, colour in _variables(theme, labels))


def _variables(theme: Theme, labels: Sequence[str]) -> list[tuple[str, str]]:
    marks = genre_marks(labels, theme)
    return [
        *((name, getattr(theme, name)) for name in ("ground", "ink", "first", "second", "faint")),
        *((f"genre-{place}", marks[label].colour) for place, label in enumerate(labels)),
    ]


@contextlib.contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # `letters_without_glyphs` reports them once.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _visible(theme: Theme) -> NDArray[np.float64]:
    levels = np.linspace(0, 1, _STEPS)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(cube)
    colourful = np.hypot(lab[:, 1], lab[:, 2]) > 0.09  # noqa: PLR2004 - grey is not a genre
    return cube[colourful & (contrast(cube, rgb(theme.ground)) >= CONTRAST)]


def _nearest(
    wanted: NDArray[np.float64], free: NDArray[np.float64], taken: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    near = np.linalg.norm(_oklab(free) - _oklab(wanted), axis=1)
    if taken:
        apart = np.linalg.norm(_oklab(free)[:, None] - _oklab(np.array(taken))[None], axis=2).min(axis=1)
        near += np.where(apart < _APART, _APART - apart + near.max(), 0.0)
    return free[int(near.argmin())]


def _linear(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004 - sRGB


def _luminance(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(_linear(colours) @ np.array([0.2126, 0.7152, 0.0722]))


def _oklab(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    to_cones = np.array([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    to_lab = np.array([
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ])  # fmt: skip
    return np.asarray(np.cbrt(_linear(colours) @ to_cones.T) @ to_lab.T)


_TEMPLATES = Environment(
    loader=PackageLoader("headnod_train"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, *, labels: Sequence[str] = (), **values: Any) -> str:  # noqa: ANN401 - whatever a template shows
    """A page; `labels` are the genres whose colours its inline figures use."""
    light, dark = css_variables(LIGHT, labels), css_variables(DARK, labels)
    return _TEMPLATES.get_template(template).render(light=light, dark=dark, labels=labels, **values) + "\n"


_WINDOW = 3.0
_AROUND = 1.0
_RATE = 22_050
_LONG = 6.0


class SourceFiles:
    """The audio files of the tracks of an archive, seen from the folder of a page."""

    def __init__(self, music: Path, page: Path) -> None:
        """Look for files below `music`; links are relative to the folder `page`."""
        self._music, self._page = music, page
        self._by_stem = {path.stem: path for path in find_files(music).music}

    def find(self, track: str) -> Path | None:
        """The file of a track, by its path in the collection or by its name; None if there is none."""
        path = (self._music / track).resolve()
        if path.is_relative_to(self._music.resolve()) and path.is_file():
            return path
        return self._by_stem.get(track) or self._by_stem.get(Path(track).stem)

    def player(self, track: str, second: float, archived: float) -> Markup:
        """An HTML audio element that plays a track around a second of its archived part; empty without a file.

        Args:
            track: Name of the track.
            second: From the beginning of the archived part to the beginning of a window.
            archived: Length of that part, which `import` takes from the middle of the file.
        """
        path = self.find(track)
        if path is None:
            return Markup()
        try:
            length = soundfile.info(path).duration
        except (OSError, RuntimeError):
            length = archived
        start = max(max(length - archived, 0.0) / 2 + second - _AROUND, 0.0)
        address = (
            quote(os.path.relpath(path, self._page.resolve())) + f"#t={start:.1f},{start + _WINDOW + 2 * _AROUND:.1f}"
        )
        return Markup('<audio controls preload="none" src="{}"></audio>').format(address)


def typical_tracks(archive: Archive, summaries: np.ndarray) -> list[int]:
    """The track of each genre whose summary is nearest to the mean of its genre."""
    scaled = (summaries - summaries.mean(axis=0)) / np.maximum(summaries.std(axis=0), 1e-9)
    found = []
    for label in archive.labels:
        own = np.flatnonzero(archive.genres == label)
        distance = np.square(scaled[own] - scaled[own].mean(axis=0)).sum(axis=1)
        found.append(int(own[distance.argmin()]))
    return found


def degraded_examples(
    archive: Archive, tracks: list[int], files: SourceFiles, page: Path, *, seed: int
) -> list[tuple[str, Markup, Markup]]:
    """Name, and players before and after the degradation that training uses, of tracks whose files can be read."""
    degrader, rows = Degrader(_RATE, (), ()), []
    for number, track in enumerate(tracks):
        path = files.find(str(archive.tracks[track]))
        if path is None:
            continue
        try:
            audio = excerpt(path, _RATE, _LONG)
        except AudioError:
            continue
        if audio.size < _WINDOW * _RATE:
            continue
        names = []
        for when, sound in (
            ("before", audio),
            ("after", degrader.degrade(audio, np.random.default_rng((seed, number)))),
        ):
            names.append(f"example-{number + 1}-{when}.flac")
            soundfile.write(page / names[-1], 0.7 * sound / max(float(np.abs(sound).max()), 1e-6), _RATE)
        one, other = (Markup('<audio controls preload="none" src="{}"></audio>').format(name) for name in names)
        rows.append((f"{archive.genres[track]}: {archive.tracks[track]}", one, other))
    return rows
