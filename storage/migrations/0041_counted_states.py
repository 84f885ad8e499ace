"""Deployments and results are counted by state for graphs, without reading what results measured."""

INDEXES = (
    "CREATE INDEX deployments_states ON deployments (state) WHERE deleted_at IS NULL",
    "CREATE INDEX training_results_states ON training_results (state) WHERE deleted_at IS NULL",
)


def up(_migrator, db):
    for index in INDEXES:
        db.execute_sql(index)
