"""`python -m tests.fedyard.portal.draw`: write the golden HTML of the portal's pages anew."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from fedyard.wire.version import __version__
from tests.fedyard.portal.scenes import PAGES, desk_in, html

GOLDEN = Path(__file__).parent / "golden"
_DRAWN = re.compile(r'(name="_key" value=")[^"]*?(-[\w-]{1,8})?"')
_STATIC = re.compile(r"(/static/[\w.-]+?)-[0-9a-f]{12}(\.\w+)")


def normalised(text: str) -> str:
    """One piece a line, without what is drawn by chance or changes with the version."""
    text = _STATIC.sub(r"\1-DIGEST\2", _DRAWN.sub(r'\1DRAWN"', text)).replace(
        f"Fedyard {__version__}", "Fedyard VERSION"
    )
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.glob("*.html"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        desk = desk_in(Path(folder))
        for name in PAGES:
            (GOLDEN / f"{name}.html").write_text(normalised(html(desk, name)), encoding="utf-8")


if __name__ == "__main__":
    main()
