"""Training over streams: deployments, which are runs of their own kind, and what their jobs gave."""

TABLES = (
    "ALTER TABLE runs ADD COLUMN kind TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE workloads ADD COLUMN purpose TEXT NOT NULL DEFAULT ''",
    """
    CREATE TABLE deployments (
        run_id {uuid} NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL UNIQUE,
        project_id {uuid} NOT NULL,
        contract_json TEXT NOT NULL,
        cluster TEXT NOT NULL,
        location TEXT NOT NULL,
        string_id TEXT NOT NULL,
        control_topic TEXT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        data_source_id {uuid},
        configuration_id {uuid},
        deleted_at BIGINT
    )
    """,
    "CREATE INDEX deployments_listed ON deployments (project_id, created_at, run_id)",
    "CREATE INDEX deployments_by_string_id ON deployments (string_id) WHERE string_id <> ''",
    """
    CREATE TABLE training_results (
        id {uuid} NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL UNIQUE,
        run_id {uuid} NOT NULL,
        task_run_id {uuid} NOT NULL,
        project_id {uuid} NOT NULL,
        architecture_id {uuid} NOT NULL,
        version BIGINT NOT NULL,
        position BIGINT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        workload_id {uuid},
        attempt BIGINT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        train_metrics_json TEXT NOT NULL,
        val_metrics_json TEXT NOT NULL,
        test_metrics_json TEXT NOT NULL,
        confusion_matrix_json TEXT NOT NULL,
        training_time TEXT NOT NULL,
        digest TEXT NOT NULL,
        model_format TEXT NOT NULL,
        model_artifact_id {uuid},
        matrix_artifact_id {uuid},
        deleted_at BIGINT
    )
    """,
    "CREATE INDEX training_results_of_run ON training_results (run_id)",
    "CREATE INDEX training_results_of_project ON training_results (project_id, created_at, id)",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid="UUID" if postgres else "TEXT"))
