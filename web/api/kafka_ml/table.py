"""All of the old paths."""

from __future__ import annotations

from web.api.kafka_ml import configurations, datasources, deployments, federated, inferences, models, results
from web.http.operations import Operation

OF_THE_FRONT_END: tuple[Operation, ...] = (
    *models.OPERATIONS,
    *configurations.OPERATIONS,
    *deployments.OPERATIONS,
    *results.OPERATIONS,
    *inferences.OPERATIONS,
    *datasources.OPERATIONS,
)
OF_LOGGERS: tuple[Operation, ...] = (*datasources.OF_LOGGERS, *federated.OF_LOGGERS)
OPERATIONS = OF_THE_FRONT_END + OF_LOGGERS
