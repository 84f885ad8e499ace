"""Services that answer over Kafka with a model that was trained."""

TABLES = (
    """
    CREATE TABLE inferences (
        id {uuid} NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL UNIQUE,
        project_id {uuid} NOT NULL,
        result_id {uuid} NOT NULL,
        result_number BIGINT NOT NULL,
        framework TEXT NOT NULL,
        distributed BIGINT NOT NULL,
        cluster TEXT NOT NULL,
        input_topic TEXT NOT NULL,
        group_id TEXT NOT NULL,
        asked_json TEXT NOT NULL,
        location TEXT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        created_by {uuid} NOT NULL,
        created_at BIGINT NOT NULL,
        step BIGINT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        workload_id {uuid},
        deleted_at BIGINT
    )
    """,
    "CREATE INDEX inferences_listed ON inferences (project_id, created_at, id)",
    "CREATE INDEX inferences_reading ON inferences (input_topic) WHERE state IN ('preparing', 'serving')",
    "CREATE INDEX inferences_of_results ON inferences (result_number)",
    "CREATE INDEX inferences_by_workload ON inferences (workload_id) WHERE workload_id IS NOT NULL",
)


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for table in TABLES:
        db.execute_sql(table.format(uuid=uuid))
