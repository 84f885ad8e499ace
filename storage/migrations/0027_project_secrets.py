"""Secrets of projects, shut with a key of the hub's that is in no table."""


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    uuid, content = ("UUID", "BYTEA") if postgres else ("TEXT", "BLOB")
    db.execute_sql(
        f"""
        CREATE TABLE project_secrets (
            project_id {uuid} NOT NULL,
            name TEXT NOT NULL,
            key_id TEXT NOT NULL,
            content {content} NOT NULL,
            set_by {uuid} NOT NULL,
            set_at BIGINT NOT NULL,
            PRIMARY KEY (project_id, name)
        )
        """
    )
