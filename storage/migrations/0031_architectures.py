"""Models that can be trained: their code in versions, and sets of them."""

TABLES = (
    """
    CREATE TABLE architectures (
        id {uuid} NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL UNIQUE,
        project_id {uuid} NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        framework TEXT NOT NULL,
        distributed BIGINT NOT NULL,
        father_id {uuid},
        version BIGINT NOT NULL,
        created_by {uuid} NOT NULL,
        created_at BIGINT NOT NULL,
        changed_at BIGINT NOT NULL,
        deleted_at BIGINT
    )
    """,
    "CREATE INDEX architectures_listed ON architectures (project_id, created_at, id) WHERE deleted_at IS NULL",
    """
    CREATE TABLE architecture_versions (
        architecture_id {uuid} NOT NULL,
        version BIGINT NOT NULL,
        framework TEXT NOT NULL,
        distributed BIGINT NOT NULL,
        imports TEXT NOT NULL,
        code TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        created_by {uuid} NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (architecture_id, version)
    )
    """,
    """
    CREATE TABLE configurations (
        id {uuid} NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL UNIQUE,
        project_id {uuid} NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        architectures_json TEXT NOT NULL,
        created_by {uuid} NOT NULL,
        created_at BIGINT NOT NULL,
        changed_at BIGINT NOT NULL,
        deleted_at BIGINT
    )
    """,
    "CREATE INDEX configurations_listed ON configurations (project_id, created_at, id) WHERE deleted_at IS NULL",
)


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for table in TABLES:
        db.execute_sql(table.format(uuid=uuid))
