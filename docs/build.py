"""The documentation as a folder of pages: "Write a plugin" from Markdown, the API reference from docstrings.

    python docs/build.py site

pdoc renders the reference of `memristor_plugins.api` and `memristor_plugins.testing`; the guides are rendered with the
Markdown that it brings.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import markdown2
import pdoc
import pdoc.render

HERE = Path(__file__).parent
MODULES = {"memristor_plugins.api": "API reference", "memristor_plugins.testing": "Testing kit"}
PAGES = {
    "index": ("plugins/README.md", "Write a plugin"),
    "device": ("plugins/device.md", "A device"),
    "nonideality": ("plugins/nonideality.md", "A non-ideality"),
    "mapping": ("plugins/mapping.md", "A mapping"),
    "kernel": ("plugins/kernel.md", "A kernel strategy"),
    "energy": ("plugins/energy.md", "An energy estimator"),
}
EXTRAS = ["fenced-code-blocks", "tables", "header-ids", "code-friendly", "cuddled-lists"]
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - memristor-plugins</title>
<style>{style}</style>
</head>
<body>
<nav><strong>memristor-plugins</strong>{links}</nav>
<main>{body}</main>
</body>
</html>
"""


def build(target: Path) -> list[Path]:
    """Write all pages into a folder; returns them.

    Raises:
        ValueError: a link between guides that leads nowhere.
    """
    pdoc.render.configure(docformat="google", footer_text="memristor-plugins", math=False, show_source=False)
    pdoc.pdoc(*MODULES, output_directory=target / "api")
    style = (HERE / "style.css").read_text(encoding="utf-8")
    written = []
    for name, (source, title) in PAGES.items():
        text = (HERE / source).read_text(encoding="utf-8")
        html = str(markdown2.markdown(text, extras=EXTRAS))
        page = PAGE.format(title=title, style=style, links=_links(name), body=_linked(html))
        path = target / f"{name}.html"
        path.write_text(page, encoding="utf-8")
        written.append(path)
    return [*written, *sorted((target / "api").rglob("*.html"))]


def _links(current: str) -> str:
    guides = [(f"{name}.html", title, name == current) for name, (_, title) in PAGES.items()]
    reference = [(f"api/{m.replace('.', '/')}.html", title, False) for m, title in MODULES.items()]
    return "".join(
        f'<a href="{href}"{" class=here" if here else ""}>{title}</a>' for href, title, here in guides + reference
    )


def _linked(html: str) -> str:
    """Links to Markdown files as links to pages."""
    pages = {Path(source).name: name for name, (source, _) in PAGES.items()}

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in pages:
            raise ValueError(f"a guide links to {match[1]}, which is no guide")
        return f'href="{pages[match[1]]}.html{match[2] or ""}"'

    return re.sub(r'href="([\w-]+\.md)(#[\w-]+)?"', replaced, html)


if __name__ == "__main__":
    pages = build(Path(sys.argv[1] if len(sys.argv) > 1 else "site"))
    print(f"{len(pages)} pages; open {pages[0]}")
