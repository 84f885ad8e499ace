"""What each subject has of what is stored: its share of a project's quota, its backlog at others, its last notices."""

TABLES = (
    """
    CREATE TABLE artifact_shares (
        project_id {uuid} NOT NULL,
        site_id {uuid} NOT NULL,
        live_bytes BIGINT NOT NULL,
        declared_bytes BIGINT NOT NULL,
        declared_count BIGINT NOT NULL,
        PRIMARY KEY (project_id, site_id)
    )
    """,
    """
    CREATE TABLE backlogs (
        sender_site_id {uuid} NOT NULL,
        site_id {uuid} NOT NULL,
        earlier_count BIGINT NOT NULL,
        earlier_bytes BIGINT NOT NULL,
        earlier_seq BIGINT NOT NULL,
        earlier_until BIGINT NOT NULL,
        later_count BIGINT NOT NULL,
        later_bytes BIGINT NOT NULL,
        later_seq BIGINT NOT NULL,
        later_until BIGINT NOT NULL,
        PRIMARY KEY (sender_site_id, site_id)
    )
    """,
    """
    CREATE TABLE told (
        cause TEXT NOT NULL,
        site_id {uuid} NOT NULL,
        seq BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (cause)
    )
    """,
    """
    INSERT INTO artifact_shares (project_id, site_id, live_bytes, declared_bytes, declared_count)
    SELECT project_id, owner_site_id, sum(size_bytes),
        sum(CASE WHEN state = 'declared' THEN size_bytes ELSE 0 END),
        sum(CASE WHEN state = 'declared' THEN 1 ELSE 0 END)
    FROM artifacts WHERE state <> 'expired' GROUP BY project_id, owner_site_id
    """,
    "CREATE INDEX artifacts_declared ON artifacts (owner_site_id) WHERE state = 'declared'",
    "CREATE INDEX enrolments_organisation ON enrolments (organisation_id)",
)


def up(migrator, db):
    kind = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid=kind))
