"""What processes say of themselves beside their clock, samples of how the hub does, and what its parts last showed."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE process_clocks ADD COLUMN version TEXT NOT NULL DEFAULT ''")
    db.execute_sql("ALTER TABLE process_clocks ADD COLUMN started_at BIGINT")
    db.execute_sql("ALTER TABLE process_clocks ADD COLUMN leads BOOLEAN")
    db.execute_sql(
        "CREATE TABLE samples (name TEXT NOT NULL, at BIGINT NOT NULL, process TEXT NOT NULL,"
        " value DOUBLE PRECISION NOT NULL, PRIMARY KEY (name, at, process))"
    )
    db.execute_sql(
        "CREATE TABLE readings (kind TEXT NOT NULL, name TEXT NOT NULL, read_at BIGINT NOT NULL,"
        " text TEXT NOT NULL, PRIMARY KEY (kind, name))"
    )
