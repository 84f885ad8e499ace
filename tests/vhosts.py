"""The run's RabbitMQ takes back the vhosts that tests have had of it: with our queues in it each takes a quarter of a
percent of a processor as long as it is there, and a run has hundreds."""

from __future__ import annotations

from contextlib import suppress

from broker.management import ManagementError, part
from devservers.rabbitmq import PrivateRabbitmq


class LendingRabbitmq(PrivateRabbitmq):
    """Knows which vhosts it has given away."""

    def __init__(self, *where: object, **more: object) -> None:
        super().__init__(*where, **more)  # type: ignore[arg-type]
        self._lent: list[str] = []

    def vhost(self, name: str | None = None) -> str:
        """As long as the tests of one file run, unless it is taken back before."""
        url = super().vhost(name)
        self._lent.append(url)
        return url

    def take_back(self, *urls: str) -> None:
        """Remove these vhosts, or all that were lent. Who is still connected is cut off."""
        for url in urls or [*self._lent]:
            self._lent.remove(url)
            with suppress(ManagementError):  # it may be down, or have lost it
                self.management.call("DELETE", f"/vhosts/{part(url.rpartition('/')[2])}")
