"""The last module of a prepared program (`tests/prepared.py`): what each start of it does with every Struct that it has
loaded is done once, before it is forked."""

from __future__ import annotations

from fedyard.wire.structs import prepare_structs

prepare_structs()
