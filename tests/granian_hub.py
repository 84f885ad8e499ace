"""The web as its users run it, over a store of its own: `python -m tests.granian_hub FOLDER PORT [OPTION=VALUE ...]`.

Commands are decided in the web's process as soon as they are sent, so that it needs no broker. Options are settings.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from flask import Flask

from config.clock import SystemClock
from config.settings import Settings
from tests.databases import fresh_sqlite
from tests.web.network import ADMIN, network
from web.live.connections import Connections, limits_of
from web.serving.wsgi import listen

__all__ = ["ADMIN"]


def main(folder: Path, port: int, options: dict[str, Any]) -> None:
    settings = Settings(broker_url=f"embedded:///{folder}/none", web_port=port, **options)

    def load() -> Flask:
        path = folder / "store.sqlite"
        connections = Connections(limits_of(settings, settings.connections), SystemClock())
        connections.watch(port)
        url = f"sqlite:///{path}" if path.exists() else fresh_sqlite(path)
        return network(url, folder, watched=connections, **options).app

    listen(settings, load)


if __name__ == "__main__":
    chosen = dict(option.split("=", 1) for option in sys.argv[3:])
    main(Path(sys.argv[1]), int(sys.argv[2]), {n: int(v) if v.isdigit() else v for n, v in chosen.items()})
