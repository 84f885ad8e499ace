"""How far each project's events were told to others."""


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    uuid = "UUID" if postgres else "TEXT"
    db.execute_sql(f"CREATE TABLE event_tellings (stream_id {uuid} NOT NULL PRIMARY KEY, seq BIGINT NOT NULL)")
