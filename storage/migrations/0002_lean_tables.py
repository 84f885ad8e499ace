"""The two tables of the lean lane. No index on the time and room in each page, so that PostgreSQL updates in place."""


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    kind, room = ("UUID", " WITH (fillfactor = 50)") if postgres else ("TEXT", "")
    db.execute_sql(
        f"CREATE TABLE site_beats (site_id {kind} NOT NULL PRIMARY KEY, seen_at BIGINT NOT NULL, "
        f"handed_out BIGINT NOT NULL){room}"
    )
    db.execute_sql(f"CREATE TABLE token_uses (token_id {kind} NOT NULL PRIMARY KEY, used_at BIGINT NOT NULL){room}")
