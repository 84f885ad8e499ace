"""`python -m tests.page.draw` writes the golden HTML of every page anew; with names of views, of those alone."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.page.goldens import FOLDER, left_over, looking, path_of
from tests.page.views import VIEWS


def main(names: list[str]) -> int:
    views = [view for view in VIEWS if not names or view.name in names]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, looking(Path(folder)) as look:
        for view in views:
            path_of(view).write_text(look.html(view), encoding="utf-8")
    for path in left_over(VIEWS):
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
