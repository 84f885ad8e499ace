"""Rounds that a project's own coordinator leads, and their checkpoints, which are models of no run."""

TABLES = (
    """
    CREATE TABLE project_rounds (
        project_id {uuid} NOT NULL,
        epoch BIGINT NOT NULL,
        number BIGINT NOT NULL,
        workload_id {uuid} NOT NULL,
        attempt BIGINT NOT NULL,
        start BIGINT NOT NULL,
        state TEXT NOT NULL,
        stage TEXT NOT NULL,
        started_at BIGINT NOT NULL,
        stage_at BIGINT NOT NULL,
        deadline_at BIGINT NOT NULL,
        reason TEXT NOT NULL,
        ended_at BIGINT,
        stages_json TEXT NOT NULL,
        counts_json TEXT NOT NULL,
        metrics_json TEXT NOT NULL,
        checkpoint_artifact_id {uuid},
        model_version BIGINT,
        PRIMARY KEY (project_id, epoch, number)
    )
    """,
    """
    CREATE INDEX project_rounds_live ON project_rounds (deadline_at)
        WHERE state IN ('selection', 'configuration', 'reporting')
    """,
    "CREATE INDEX project_rounds_number ON project_rounds (project_id, number, epoch)",
    """
    CREATE INDEX project_rounds_checkpoint ON project_rounds (checkpoint_artifact_id)
        WHERE checkpoint_artifact_id IS NOT NULL
    """,
    "ALTER TABLE workloads ADD COLUMN model_version BIGINT",
    "DROP INDEX events_told",
    """
    CREATE INDEX events_told ON events (stream_id, seq) WHERE kind IN ('run_succeeded', 'run_failed', 'run_cancelled',
        'site_fell_silent', 'site_returned', 'identity_conflict', 'seat_left_out', 'workload_failed', 'workload_lost',
        'project_round_failed')
    """,
)
POSTGRES = (
    "ALTER TABLE models ALTER COLUMN run_id DROP NOT NULL",
    "ALTER TABLE models ALTER COLUMN task_seq DROP NOT NULL",
    "ALTER TABLE models ALTER COLUMN message_id DROP NOT NULL",
    "ALTER TABLE models ADD COLUMN epoch BIGINT",
)
SQLITE = (
    "ALTER TABLE models RENAME TO models_before",
    """
    CREATE TABLE models (
        project_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        run_id TEXT,
        task_seq BIGINT,
        task TEXT NOT NULL,
        round BIGINT NOT NULL,
        message_id TEXT,
        artifact_id TEXT,
        digest TEXT NOT NULL,
        size_bytes BIGINT NOT NULL,
        metrics_json TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        epoch BIGINT,
        PRIMARY KEY (project_id, version)
    )
    """,
    """
    INSERT INTO models SELECT project_id, version, run_id, task_seq, task, round, message_id, artifact_id, digest,
        size_bytes, metrics_json, created_at, NULL FROM models_before
    """,
    "DROP TABLE models_before",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    for statement in (*TABLES, *(POSTGRES if postgres else SQLITE)):
        db.execute_sql(statement.format(uuid="UUID" if postgres else "TEXT"))
