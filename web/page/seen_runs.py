"""A run as its caller may see it, in the class that both faces show it by."""

from __future__ import annotations

import msgspec

from domain.ids import Id
from fedyard.wire import answers
from storage.views import runs
from web.http.calls import Call
from web.problems import not_found

_run = msgspec.json.Decoder(answers.Run)


def seen_run(call: Call, ident: Id, window: runs.Window) -> answers.Run:
    """The run as the API would answer it, with the rounds and sites of the window. Raises 404 where it is not for the
    caller to see."""
    database, subject = call.web.database, call.caller.subject
    progress = runs.progress_of(database, subject, ident)
    found = None if progress is None else runs.run(database, subject, ident, past=progress.past, window=window)
    if found is None:
        raise not_found("run", ident)
    return _run.decode(msgspec.json.encode(found))
