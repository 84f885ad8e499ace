"""Who looks through all events looks through a span of time. They are written in its order, so that PostgreSQL needs no
more than the times that each few pages of the table begin and end with."""

BRIN = "CREATE INDEX events_at ON events USING brin (at) WITH (pages_per_range = 32, autosummarize = on)"
PLAIN = "CREATE INDEX events_at ON events (at)"


def up(migrator, db):
    db.execute_sql(BRIN if type(migrator).__name__ == "PostgresqlMigrator" else PLAIN)
