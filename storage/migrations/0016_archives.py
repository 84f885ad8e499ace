"""Archives of initial files: what the hub found in them, or why they do not count."""

TABLES = (
    """
    CREATE TABLE archives (
        artifact_id {uuid} NOT NULL PRIMARY KEY,
        project_id {uuid} NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        required_json TEXT NOT NULL,
        version BIGINT,
        flaw TEXT NOT NULL,
        detail TEXT NOT NULL,
        files_json TEXT NOT NULL
    )
    """,
    "CREATE INDEX archives_checked ON archives (project_id) WHERE state = 'checked'",
)


def up(migrator, db):
    kind = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid=kind))
