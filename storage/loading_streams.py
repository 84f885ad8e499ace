"""What decisions about streams need, by queries of its own before the rest: part of storage/loading_apart.py."""

from __future__ import annotations

from collections.abc import Callable

from domain import stream_records as sr
from domain.needs import Needs
from storage.reader import Reader
from storage.tables import select


def _counters(reader: Reader, needs: Needs) -> Needs:
    reader.rows(sr.Counter, f"{select(sr.Counter)} WHERE name {{any}}", needs.counters)
    return Needs()


def _deployments(reader: Reader, needs: Needs) -> Needs:
    """Deployments and their results; needed besides: their runs, and who may see them."""
    runs = set(needs.deployments)
    found = reader.rows(sr.TrainingResult, f"{_RESULTS} WHERE number {{any}}", needs.results)
    runs |= {each.run_id for each in found}
    numbered = reader.rows(sr.Deployment, f"{_DEPLOYMENTS} WHERE number {{any}}", needs.deployment_numbers)
    runs |= {each.run_id for each in numbered}
    reader.rows(sr.Deployment, f"{_DEPLOYMENTS} WHERE run_id {{any:uuid}}", runs)
    reader.rows(sr.TrainingResult, f"{_RESULTS} WHERE run_id {{any:uuid}}", runs)
    return Needs(runs=runs)


_DEPLOYMENTS = select(sr.Deployment)
_RESULTS = select(sr.TrainingResult)

STREAM_PARTS: tuple[tuple[frozenset[str], Callable[[Reader, Needs], Needs]], ...] = (
    (frozenset({"counters"}), _counters),
    (frozenset({"deployments", "deployment_numbers", "results"}), _deployments),
)
"""Any of these needs -> who loads what they name."""
