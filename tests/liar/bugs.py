"""Planted bugs: a rule of the agent taken away, for the time of one scenario. The scenario must notice each.

The agents of these tests run in this process, so that what is swapped here is swapped in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import fedyard.agent.contract
import fedyard.agent.head_watch
import fedyard.agent.heads
import fedyard.agent.joining
import fedyard.agent.receipts
from fedyard.agent.consents import Consent, Consents, Wanted, consent_to
from fedyard.agent.directories import Directories
from fedyard.agent.state import made_of
from fedyard.agent.state.runs import Runs
from fedyard.agent.steps.coordinating import Coordinating
from fedyard.agent.steps.holding import Holding

Swap = tuple[Any, str, Any]
"""Owner, attribute, the value that it has for the time of the scenario."""


@dataclass(frozen=True)
class Bug:
    """about: what is wrong, in a sentence."""

    name: str
    about: str
    swaps: tuple[Swap, ...]

    def __str__(self) -> str:
        return self.name


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The bug is there for the block."""
    with ExitStack() as stack:
        for owner, name, value in bug.swaps:
            stack.callback(setattr, owner, name, owner.__dict__[name])
            setattr(owner, name, value)
        yield


NO_DIGEST_CHECK = Bug(
    "no_digest_check",
    "the coordinator's agent takes updates of whatever task and model",
    ((fedyard.agent.contract, "why_left_out", lambda _origin, _task, _models: None),),
)
LIST_BELIEVED = Bug(
    "list_believed",
    "the coordinator's agent aggregates what the hub lists, whatever it holds itself",
    (
        (fedyard.agent.contract, "not_listed", lambda _here, _listed, _held: []),
        (fedyard.agent.contract, "check_list", lambda _here, _listed, _held: None),
    ),
)
MANY_MODELS = Bug(
    "many_models",
    "the coordinator's agent makes a model of a round whenever it is asked to, of whatever updates",
    ((Coordinating, "_check_same", lambda _self, _here, _digests: None),),
)


def _made_while_it_lives(self: Runs, run_id: str, task_seq: int, round: int) -> str | None:
    sealed = [*self.sealed(run_id, task_seq, round, "model").values()]
    return made_of(sealed[0]) if sealed else None


MODELS_GO_WITH_THEIR_RUN = Bug(
    "models_go_with_their_run",
    "once it is told that a run is over, the coordinator's agent knows neither that nor what its models were made of",
    (
        (Runs, "ended", lambda _self, _run_id: False),
        (Runs, "made_of", _made_while_it_lives),
    ),
)
NO_RECEIPT_CHECK = Bug(
    "no_receipt_check",
    "a site is content with a model that does not name its update",
    ((fedyard.agent.receipts, "missing", lambda _origin, _own: ""),),
)


HEADS_NOT_COMPARED = Bug(
    "heads_not_compared",
    "a site is content with whatever head of a chain the hub signs",
    ((fedyard.agent.head_watch, "judge", lambda *_: None),),
)
HEADS_NOT_VERIFIED = Bug(
    "heads_not_verified",
    "a site takes a head without looking at its signature",
    ((fedyard.agent.heads.Head, "is_signed", lambda _self: True),),
)


def _hubs_word(self: Directories, project_id: str | None) -> Consent:
    return consent_to(self._client.project(project_id or ""), "people", 0)


NO_CONSENT_CHECK = Bug(
    "no_consent_check",
    "an agent serves whatever the hub says that its site is a member of",
    (
        (Holding, "consented", lambda _self, _entry: None),
        (Directories, "consented", _hubs_word),
        (Consents, "serves", lambda _self, _project_id: True),
    ),
)
ANY_COORDINATOR = Bug(
    "any_coordinator",
    "an agent joins the first project of a name, whoever coordinates it",
    ((fedyard.agent.joining, "parse_coordinator", lambda _text: Wanted()),),
)
