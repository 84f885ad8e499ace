"""Sealing: the keys of sites, with what they stated of them apart, where no decision has to read it."""

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
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    types = {"uuid": "UUID" if postgres else "TEXT", "bytes": "BYTEA" if postgres else "BLOB"}
    for statement in TABLES:
        db.execute_sql(statement.format(**types))
