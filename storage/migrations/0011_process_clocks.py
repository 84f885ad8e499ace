"""What each process says of its clock: one row a process, written by itself."""


def up(_migrator, db):
    db.execute_sql(
        "CREATE TABLE process_clocks (process TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL, "
        "offset_us BIGINT NOT NULL, seen_at BIGINT NOT NULL)"
    )
