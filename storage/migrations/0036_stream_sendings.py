"""Data sources that are announced once more."""

TABLE = """
CREATE TABLE stream_sendings (
    id {uuid} NOT NULL PRIMARY KEY,
    data_source_id {uuid} NOT NULL,
    deployment_number BIGINT NOT NULL,
    project_id {uuid} NOT NULL,
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    state TEXT NOT NULL,
    state_at BIGINT NOT NULL,
    created_by {uuid} NOT NULL,
    created_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    partition BIGINT,
    log_offset BIGINT
)
"""


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    db.execute_sql(TABLE.format(uuid="UUID" if postgres else "TEXT"))
