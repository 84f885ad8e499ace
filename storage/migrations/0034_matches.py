"""Federated models and data that fit them: what finds the pairs, and the pairs themselves."""

TABLES = (
    "ALTER TABLE data_sources ADD COLUMN match_key TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE data_sources ADD COLUMN stream_id {uuid}",
    "ALTER TABLE model_announcements ADD COLUMN match_key TEXT NOT NULL DEFAULT ''",
    """
    CREATE INDEX data_sources_matching ON data_sources (match_key, total_msg)
        WHERE state = 'live' AND match_key <> ''
    """,
    "CREATE INDEX data_sources_stream ON data_sources (stream_id) WHERE state = 'live'",
    "CREATE INDEX model_announcements_called ON model_announcements (string_id, cluster) WHERE state = 'live'",
    """
    CREATE INDEX model_announcements_matching ON model_announcements (match_key, min_data)
        WHERE state = 'live' AND match_key <> ''
    """,
    "CREATE INDEX model_announcements_run ON model_announcements (run_id) WHERE run_id IS NOT NULL",
    """
    CREATE TABLE matches (
        id {uuid} NOT NULL PRIMARY KEY,
        run_id {uuid} NOT NULL,
        project_id {uuid} NOT NULL,
        model_id {uuid} NOT NULL,
        source_id {uuid} NOT NULL,
        stream_id {uuid} NOT NULL,
        cluster TEXT NOT NULL,
        data_cluster TEXT NOT NULL,
        string_id TEXT NOT NULL,
        client_id TEXT NOT NULL,
        location TEXT NOT NULL,
        case_number BIGINT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        workload_id {uuid},
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        check_at BIGINT
    )
    """,
    "CREATE INDEX matches_run ON matches (run_id, created_at, id)",
    "CREATE INDEX matches_model ON matches (string_id, cluster)",
    "CREATE INDEX matches_stream ON matches (stream_id)",
    "CREATE INDEX matches_check ON matches (check_at) WHERE check_at IS NOT NULL",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid="UUID" if postgres else "TEXT"))
