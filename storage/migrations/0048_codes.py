"""What code a seat runs, by its digest, in each round; what a seat waits for, by its site's own word."""

COLUMNS = {
    "task_runs": ("code TEXT NOT NULL DEFAULT ''",),
    "seats": (
        "code TEXT NOT NULL DEFAULT ''",
        "waits_for TEXT NOT NULL DEFAULT ''",
        "waits_until BIGINT",
    ),
    "submissions": ("code TEXT NOT NULL DEFAULT ''",),
}


def up(_migrator, db):
    for table, columns in COLUMNS.items():
        for column in columns:
            db.execute_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
