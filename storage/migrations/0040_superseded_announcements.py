"""Superseded announcements are found where they are forgotten; indexes that nothing asks by any more go."""

STATEMENTS = (
    "CREATE INDEX data_sources_superseded ON data_sources (state_at) WHERE state = 'superseded' AND purpose = 'data'",
    "CREATE INDEX model_announcements_superseded ON model_announcements (state_at) WHERE state = 'superseded'",
    "DROP INDEX data_sources_live",
    "DROP INDEX model_announcements_string",
)


def up(_migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)
