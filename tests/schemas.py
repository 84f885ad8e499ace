"""What others are told of runs, as a schema: `python -m tests.schemas` writes docs/runs.events.v1.schema.json anew."""

from __future__ import annotations

import json
from pathlib import Path

from domain.streams.cloud_events import schema

PAGE = Path(__file__).resolve().parent.parent / "docs" / "runs.events.v1.schema.json"


def drawn() -> str:
    """The file as it should be."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PAGE.write_text(drawn())
