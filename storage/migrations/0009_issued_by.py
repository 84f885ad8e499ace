"""Tokens know the token that issued them: they live no longer than it does."""


def up(migrator, db):
    kind = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    db.execute_sql(f"ALTER TABLE tokens ADD COLUMN issued_by {kind}")
    db.execute_sql("CREATE INDEX tokens_issued_by ON tokens (issued_by) WHERE issued_by IS NOT NULL")
