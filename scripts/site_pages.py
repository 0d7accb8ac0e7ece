"""Add pages to the manual that are not in docs/: a hook of mkdocs.

The overview is README.md; the other documents of the root keep their names. Each module that the
navigation names under `python/` gets a page with its API reference. The files of `deploy/` are
copied, so that links to them work.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FROM_ROOT = {"README.md": "index.md"} | {
    name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
}
COPIED = ("LICENSE", "NOTICE", "deploy/**/*")
PYTHON = "python/"

_LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and copied files."""
    for source, page in FROM_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    for page in _pages(config.nav):
        if page.startswith(PYTHON):
            module = page.removeprefix(PYTHON).removesuffix(".md")
            content = f"# `{module}`\n\n::: {module}\n"
            files.append(File.generated(config, page, content=content))
    for pattern in COPIED:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                name = path.relative_to(ROOT).as_posix()
                files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Point links and pictures at the pages and files of the site."""
    written = {page: source for source, page in FROM_ROOT.items()}
    here = page.file.src_uri
    document = written.get(here, f"docs/{here}")

    def in_site(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(str(PurePosixPath(document).parent / target))
        name = FROM_ROOT.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(name) is None:
            # A folder or source code of the repository is not in the site. mkdocs reports the rest.
            return text if (ROOT / path).exists() else link[0]
        return f"[{text}]({posixpath.relpath(name, posixpath.dirname(here) or '.')}{anchor})"

    return _LINK.sub(in_site, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Remove what only a public web site at a known address needs, and source maps."""
    site = Path(config.site_dir)
    for pattern in ("404.html", "sitemap.xml*", "assets/**/*.map"):
        for path in site.glob(pattern):
            path.unlink()


def _pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for part in nav.values():
            yield from _pages(part)
    elif isinstance(nav, list):
        for part in nav:
            yield from _pages(part)
