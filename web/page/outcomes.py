"""What became of a command, as the page's status line says it."""

from __future__ import annotations

import msgspec

from domain.ids import Id
from domain.values import Subject
from fedyard.look.states import Tone
from fedyard.wire.problems import Problem
from storage.views import commands
from web.http.calls import Web
from web.http.writing import ACCEPTED


def said(web: Web, subject: Subject, ident: Id) -> tuple[Tone, str]:
    """Tone and sentence. Another's command is like one that nobody sent: not decided yet."""
    outcome = commands.outcome_for(web.database, subject, ident)
    if outcome is None:
        return "waits", f"Command {ident} is not decided yet. It lies safely on the broker: load the page again."
    what = outcome.kind.replace("_", " ")
    if outcome.state == ACCEPTED:
        return "good", f"Done: {what}."
    problem = msgspec.json.decode(outcome.answer_json, type=Problem)
    return "bad", f"Not done: {what}. {problem.title}: {problem.detail}"
