"""Sealing: the keys of sites, with what they stated of them apart, where no decision has to read it; whether a
project's payloads have to be sealed (those that are there already go on as they are); and global models as versions."""

TABLES = (
    """
    CREATE TABLE site_keys (
        site_id {uuid} NOT NULL,
        epoch BIGINT NOT NULL,
        state TEXT NOT NULL,
        digest TEXT NOT NULL,
        added_at BIGINT NOT NULL,
        grace_until BIGINT,
        revoked_at BIGINT,
        reason TEXT NOT NULL,
        PRIMARY KEY (site_id, epoch)
    )
    """,
    """
    CREATE TABLE key_statements (
        site_id {uuid} NOT NULL,
        epoch BIGINT NOT NULL,
        suite BIGINT NOT NULL,
        public_key {bytes} NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        signature {bytes} NOT NULL,
        PRIMARY KEY (site_id, epoch)
    )
    """,
    """
    CREATE TABLE models (
        project_id {uuid} NOT NULL,
        version BIGINT NOT NULL,
        run_id {uuid} NOT NULL,
        task_seq BIGINT NOT NULL,
        task TEXT NOT NULL,
        round BIGINT NOT NULL,
        message_id {uuid} NOT NULL,
        artifact_id {uuid},
        digest TEXT NOT NULL,
        size_bytes BIGINT NOT NULL,
        metrics_json TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (project_id, version)
    )
    """,
    "ALTER TABLE projects ADD COLUMN sealed TEXT NOT NULL DEFAULT 'optional'",
    "ALTER TABLE projects ADD COLUMN last_model_version BIGINT NOT NULL DEFAULT 0",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    types = {"uuid": "UUID" if postgres else "TEXT", "bytes": "BYTEA" if postgres else "BLOB"}
    for statement in TABLES:
        db.execute_sql(statement.format(**types))
