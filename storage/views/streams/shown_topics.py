"""Which topics somebody may look on at: those of inferences of projects that they are a member of."""

from __future__ import annotations

import msgspec

from domain.stream_values import InferenceAsked
from domain.values import Subject
from storage.database import Database
from storage.views.sight import Clause, acting_member_of, rows

_asked_decoder = msgspec.json.Decoder(InferenceAsked)


def cluster_of(database: Database, subject: Subject, topic: str) -> str | None:
    """The cluster in which it lies; None if it is none of theirs. To run the network, or to audit it, is not enough:
    what is in a topic is as a body. An inference that was deleted shows nothing any more."""
    seen = [Clause("deleted_at IS NULL"), acting_member_of("inferences.project_id", subject)]
    found = rows(database, "SELECT cluster, input_topic, asked_json FROM inferences", seen, "ORDER BY number")
    for cluster, input_topic, asked_json in found:
        asked = _asked_decoder.decode(asked_json)
        places = {
            asked.output_upper: asked.upper_cluster or cluster,
            asked.output_topic: asked.output_cluster or cluster,
            input_topic: cluster,
        }
        if topic and topic in places:
            return str(places[topic])
    return None
