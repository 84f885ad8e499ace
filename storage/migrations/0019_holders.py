"""Workloads hold seats of runs: each attempt has a site of its own, and a one-time token with which it becomes that."""


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for statement in (
        f"ALTER TABLE sites ADD COLUMN workload_id {uuid}",
        f"ALTER TABLE workloads ADD COLUMN run_id {uuid}",
        f"ALTER TABLE workloads ADD COLUMN task_run_id {uuid}",
        f"ALTER TABLE workload_attempts ADD COLUMN site_id {uuid}",
        "ALTER TABLE workload_attempts ADD COLUMN token_sha256 TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX workloads_of_runs ON workloads (run_id) WHERE run_id IS NOT NULL",
    ):
        db.execute_sql(statement)
