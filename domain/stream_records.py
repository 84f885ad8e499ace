"""What the store keeps of streams: control records, data sources, models, training over Kafka. Form and units as in
domain/records.py, which lists them with all others."""

from __future__ import annotations

from domain.record import Record

RECORDS: tuple[type[Record], ...] = ()
