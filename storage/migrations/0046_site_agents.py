"""Which version a site's agent says that it is. Written when that changes, so it lies apart from the beats."""


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    columns = f"site_id {uuid} NOT NULL PRIMARY KEY, version TEXT NOT NULL, said_at BIGINT NOT NULL"
    db.execute_sql(f"CREATE TABLE site_agents ({columns})")
