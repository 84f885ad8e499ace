"""What the hub, or the way to it, may answer instead of doing what was asked."""

from __future__ import annotations

from fedyard.wire import answers as a
from fedyard.wire.problems import ProblemType, known, slug_of
from fedyard.wire.shown import MAX_LINE, shown


class HubError(Exception):
    """The hub did not do what was asked."""


class Refused(HubError):
    """4xx: repeating it cannot help. `slug` names the problem, `detail` is the hub's sentence.

    problem: the slug's type; None for one that this site's catalogue lacks, which is treated by its status.
    """

    def __init__(self, call: str, status: int, problem: a.Problem) -> None:
        self.status = status
        self.slug = slug_of(problem.type)
        self.problem: ProblemType | None = known(self.slug)
        self.detail = problem.detail or problem.title
        super().__init__(f"{call}: {status} {self.slug}: {shown(self.detail, MAX_LINE)}")

    @property
    def token_unknown(self) -> bool:
        """401: the token is not in force. After a restore it may be, once the hub has recovered."""
        return self.status == 401

    @property
    def forbidden(self) -> bool:
        """403: not, or no longer, allowed; of a presigned address: it has expired."""
        return self.status == 403


class Unavailable(HubError):
    """Gave up after a stated time; the write may have been done all the same, its key makes a repeat harmless.

    retry_after_s: what the hub asked for, if that was more than there was patience for.
    """

    def __init__(self, fact: str, retry_after_s: float = 0.0) -> None:
        super().__init__(fact)
        self.retry_after_s = retry_after_s


class Unacceptable(HubError):
    """The hub asks for what this site does not do, or contradicts itself: another try would end the same way."""


class Unprotected(HubError):
    """What is secret would go over plain http to another machine."""


class Unreachable(HubError):
    """The way to the hub is not as it should be (a certificate, a proxy): another try ends the same, people mend it."""


class Passing(Exception):
    """Worth another try, after `pause_s` if the hub said so."""

    def __init__(self, fact: str, pause_s: float | None = None) -> None:
        super().__init__(fact)
        self.pause_s = pause_s
