"""Hooks of MkDocs: pages from files beside docs/, and links to the rest of the project.

Documents link to each other as files of the repository, so that they work there too.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "systemd/README.md": "service.md",
    "train/README.md": "train.md",
    "homeassistant-addon/README.md": "addon.md",
    "firmware_config/README.md": "kits.md",
    "firmware_config/mosquitto/README.md": "broker.md",
    "models/genre-2.2.0/CARD.md": "card.md",
}
"""Pages of the site by their file in the repository, for those that are not in docs/."""

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for source, page in PAGES.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at pages of the site, and at the repository for all other files."""
    here = next((source for source, name in PAGES.items() if name == page.file.src_uri), f"docs/{page.file.src_uri}")
    address = f"{(config.repo_url or '').rstrip('/')}/blob/main"

    def target(match: re.Match[str]) -> str:
        before, link, anchor, after = match[1], match[2], match[3] or "", match[4]
        if "://" in link or link.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
        if path in PAGES:
            return f"{before}{PAGES[path]}{anchor}{after}"
        inside = path.removeprefix("docs/")
        if path.startswith("docs/") and files.get_file_from_path(inside):
            return f"{before}{inside}{anchor}{after}"
        if not (ROOT / path).exists():
            # Strict mode reports it.
            return match[0]
        return f"{before}{address}/{path}{anchor}{after}"

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(target, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(target, markdown[end:])])
