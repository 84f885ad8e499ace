"""Workloads, the attempts at them, and what these left."""

TABLES = (
    """
    CREATE TABLE workloads (
        id {uuid} NOT NULL PRIMARY KEY,
        project_id {uuid} NOT NULL,
        name TEXT NOT NULL,
        cluster TEXT NOT NULL,
        kind TEXT NOT NULL,
        spec_json TEXT NOT NULL,
        replicas BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        attempt BIGINT NOT NULL,
        next_at BIGINT,
        stop_at BIGINT,
        stop_reason TEXT NOT NULL,
        ended_at BIGINT,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        exit_code BIGINT
    )
    """,
    "CREATE INDEX workloads_listed ON workloads (project_id, created_at, id)",
    "CREATE INDEX workloads_live ON workloads (project_id) WHERE state IN ('wanted', 'starting', 'running')",
    """
    CREATE TABLE workload_attempts (
        workload_id {uuid} NOT NULL,
        attempt BIGINT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        uid TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        exit_code BIGINT,
        ready BIGINT NOT NULL,
        addresses_json TEXT NOT NULL,
        started_at BIGINT,
        ended_at BIGINT,
        kept_at BIGINT,
        gone_at BIGINT,
        PRIMARY KEY (workload_id, attempt)
    )
    """,
    "CREATE INDEX workload_attempts_there ON workload_attempts (workload_id) WHERE gone_at IS NULL",
    """
    CREATE TABLE workload_evidence (
        workload_id {uuid} NOT NULL,
        attempt BIGINT NOT NULL,
        log {bytes} NOT NULL,
        events_json TEXT NOT NULL,
        PRIMARY KEY (workload_id, attempt)
    )
    """,
    """
    CREATE TABLE cluster_states (
        cluster TEXT NOT NULL PRIMARY KEY,
        trouble TEXT NOT NULL,
        at BIGINT NOT NULL
    )
    """,
    "DROP INDEX events_told",
    """
    CREATE INDEX events_told ON events (stream_id, seq) WHERE kind IN ('run_succeeded', 'run_failed', 'run_cancelled',
        'site_fell_silent', 'site_returned', 'identity_conflict', 'seat_left_out', 'workload_failed', 'workload_lost')
    """,
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid="UUID" if postgres else "TEXT", bytes="BYTEA" if postgres else "BLOB"))
