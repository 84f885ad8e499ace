"""A token of an account may be a session, or a one-time code that opens one; those go once they have expired."""

STATEMENTS = (
    "ALTER TABLE tokens ADD COLUMN kind TEXT NOT NULL DEFAULT 'token'",
    "CREATE INDEX tokens_passing ON tokens (expires_at) WHERE kind <> 'token'",
)


def up(_migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
