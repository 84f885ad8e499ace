"""Logs of runs: the pieces as sites wrote them, and the heads that number them. Heads go with their pieces."""

TABLES = (
    """
    CREATE TABLE log_heads (
        run_id {uuid} NOT NULL PRIMARY KEY,
        last_place BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE site_logs (
        run_id {uuid} NOT NULL,
        site_id {uuid} NOT NULL,
        task_seq BIGINT NOT NULL,
        last_seq BIGINT NOT NULL,
        size_bytes BIGINT NOT NULL,
        PRIMARY KEY (run_id, site_id, task_seq)
    )
    """,
    """
    CREATE TABLE log_pieces (
        run_id {uuid} NOT NULL,
        place BIGINT NOT NULL,
        site_id {uuid} NOT NULL,
        task_seq BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        round BIGINT,
        body {bytes} NOT NULL,
        size_bytes BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (run_id, place)
    )
    """,
)

INDEXES = (
    "CREATE UNIQUE INDEX log_pieces_seq ON log_pieces (run_id, site_id, task_seq, seq)",
    "CREATE INDEX log_pieces_site ON log_pieces (run_id, site_id, place)",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    types = {"uuid": "UUID" if postgres else "TEXT", "bytes": "BYTEA" if postgres else "BLOB"}
    for statement in TABLES:
        db.execute_sql(statement.format(**types))
    for statement in INDEXES:
        db.execute_sql(statement)
