"""Logs of workloads, as far as they were read while somebody followed them."""

TABLES = (
    """
    CREATE TABLE workload_follows (
        workload_id {uuid} NOT NULL,
        attempt BIGINT NOT NULL,
        until_at BIGINT NOT NULL,
        PRIMARY KEY (workload_id, attempt)
    )
    """,
    """
    CREATE TABLE workload_log_heads (
        workload_id {uuid} NOT NULL,
        attempt BIGINT NOT NULL,
        size_bytes BIGINT NOT NULL,
        PRIMARY KEY (workload_id, attempt)
    )
    """,
    """
    CREATE TABLE workload_log_pieces (
        workload_id {uuid} NOT NULL,
        attempt BIGINT NOT NULL,
        start BIGINT NOT NULL,
        body {bytes} NOT NULL,
        PRIMARY KEY (workload_id, attempt, start)
    )
    """,
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid="UUID" if postgres else "TEXT", bytes="BYTEA" if postgres else "BLOB"))
