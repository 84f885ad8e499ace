"""Seats that are drawn for a round, scores of its model at the sites, and what follows from them for its task."""

COLUMNS = {
    "task_runs": (
        "best_round BIGINT",
        "best_version BIGINT",
        "best_value DOUBLE PRECISION",
        "watched_value DOUBLE PRECISION",
        "rounds_without BIGINT NOT NULL DEFAULT 0",
    ),
    "rounds": ("drawn BIGINT", "model_version BIGINT", "score_json TEXT NOT NULL DEFAULT '{}'"),
    "seats": ("score_json TEXT NOT NULL DEFAULT '{}'", "score_round BIGINT NOT NULL DEFAULT 0"),
}
LIVE_ROUNDS = "'selecting', 'training', 'aggregating', 'scoring'"
LIVE_SEATS = "'invited', 'preparing', 'ready', 'training', 'uploading', 'submitted', 'resting', 'scoring', 'scored'"
STATEMENTS = (
    "CREATE INDEX scores_run ON scores (run_id)",
    "DROP INDEX rounds_live",
    f"CREATE INDEX rounds_live ON rounds (deadline_at) WHERE state IN ({LIVE_ROUNDS})",
    "DROP INDEX seats_live",
    f"CREATE INDEX seats_live ON seats (site_id) WHERE state IN ({LIVE_SEATS})",
)


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for table, columns in COLUMNS.items():
        for column in columns:
            db.execute_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
    db.execute_sql(
        f"CREATE TABLE scores (task_run_id {uuid} NOT NULL, round BIGINT NOT NULL, site_id {uuid} NOT NULL,"
        f" run_id {uuid} NOT NULL, metrics_json TEXT NOT NULL, reason TEXT NOT NULL, scored_at BIGINT NOT NULL,"
        " PRIMARY KEY (task_run_id, round, site_id))"
    )
    for statement in STATEMENTS:
        db.execute_sql(statement)
