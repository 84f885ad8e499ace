"""`python -m devservers [TOOL ...]`: install the servers' packages, and those of the tools, that are missing."""

from __future__ import annotations

import sys

from devservers.installing import install_missing
from devservers.process import ServerError

if __name__ == "__main__":
    try:
        install_missing(*sys.argv[1:])
    except ServerError as error:
        raise SystemExit(f"fedyard: {error}") from None
