"""A client's token is good for taking part in one project: which one that is."""


def up(migrator, db):
    kind = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    db.execute_sql(f"ALTER TABLE tokens ADD COLUMN project_id {kind}")
    db.execute_sql("CREATE INDEX tokens_project ON tokens (project_id) WHERE project_id IS NOT NULL")
