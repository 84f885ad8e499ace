"""Artifacts: payloads of any size. Their bytes lie elsewhere; here is what was declared of them."""

TABLES = (
    """
    CREATE TABLE artifacts (
        id {uuid} NOT NULL,
        project_id {uuid} NOT NULL,
        owner_site_id {uuid} NOT NULL,
        kind TEXT NOT NULL,
        run_id {uuid},
        task_seq BIGINT,
        round BIGINT,
        size_bytes BIGINT NOT NULL,
        digest TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        ttl_s BIGINT,
        stored_at BIGINT,
        expires_at BIGINT,
        expired_at BIGINT,
        reason TEXT NOT NULL,
        message_id {uuid},
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE artifact_declarations (
        artifact_id {uuid} NOT NULL,
        chunk_digests {bytes} NOT NULL,
        seal {bytes},
        PRIMARY KEY (artifact_id)
    )
    """,
    """
    CREATE TABLE artifact_totals (
        project_id {uuid} NOT NULL,
        live_bytes BIGINT NOT NULL,
        live_count BIGINT NOT NULL,
        PRIMARY KEY (project_id)
    )
    """,
    "ALTER TABLE messages ADD COLUMN artifact_id {uuid}",
)

INDEXES = (
    "CREATE INDEX artifacts_project ON artifacts (project_id, created_at, id)",
    "CREATE INDEX artifacts_owner ON artifacts (owner_site_id)",
    "CREATE INDEX artifacts_live ON artifacts (created_at) WHERE state <> 'expired'",
    "CREATE INDEX messages_artifact ON messages (artifact_id) WHERE artifact_id IS NOT NULL",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    types = {"uuid": "UUID" if postgres else "TEXT", "bytes": "BYTEA" if postgres else "BLOB"}
    for statement in TABLES:
        db.execute_sql(statement.format(**types))
    for statement in INDEXES:
        db.execute_sql(statement)
