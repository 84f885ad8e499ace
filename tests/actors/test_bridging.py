"""Retention of quarantined records: asked for by the bridge's process, and only where there are old ones."""

from __future__ import annotations

from actors.bridging import FORGETS_EVERY_S, Forgetting
from domain import stream_commands as sc
from fedyard.wire.times import SECOND
from storage.views.sight import Paging
from storage.views.streams.quarantine import quarantined
from tests import streams
from tests.broker.test_bridge import Kept
from tests.hub import Hub

KEEP_S = 3600.0


def test_old_records_go_and_young_ones_stay(hub: Hub) -> None:
    publisher = Kept()
    forgetting = Forgetting(hub.database, publisher, hub.clock, KEEP_S)
    hub.rules = hub.rules.__class__(keep_quarantine_s=KEEP_S)
    now = hub.clock.now()
    young = streams.quarantined(hub.database, value=b"young", taken_at=now)
    forgetting.turn()
    assert publisher.envelopes == []
    streams.quarantined(hub.database, value=b"old", taken_at=now - int((KEEP_S + 1) * SECOND))
    forgetting.turn()
    assert publisher.envelopes == [], "it looks every ten minutes"
    hub.clock.sleep(FORGETS_EVERY_S)
    forgetting.turn()
    (envelope,) = publisher.envelopes
    assert isinstance(envelope.command, sc.ForgetRecords)
    hub.send(envelope.command)
    assert [one.id for one in quarantined(hub.database, Paging(10)).items] == [young]
