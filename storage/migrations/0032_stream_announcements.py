"""Data and models that are announced in Kafka, and records that nobody understood."""

TABLES = (
    """
    CREATE TABLE data_sources (
        id {uuid} NOT NULL PRIMARY KEY,
        cluster TEXT NOT NULL,
        topic TEXT NOT NULL,
        partition BIGINT NOT NULL,
        log_offset BIGINT NOT NULL,
        purpose TEXT NOT NULL,
        deployment_number BIGINT,
        data_topic TEXT NOT NULL,
        unsupervised_topic TEXT,
        input_format TEXT NOT NULL,
        input_config_json TEXT NOT NULL,
        description TEXT NOT NULL,
        restrictions_json TEXT NOT NULL,
        shape TEXT NOT NULL,
        validation_rate DOUBLE PRECISION NOT NULL,
        test_rate DOUBLE PRECISION NOT NULL,
        total_msg BIGINT,
        incremental BOOLEAN NOT NULL,
        announced_at BIGINT NOT NULL,
        taken_at BIGINT NOT NULL,
        body {bytes} NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX data_sources_taken ON data_sources (taken_at, id)",
    """
    CREATE INDEX data_sources_deployment ON data_sources (deployment_number, cluster)
        WHERE deployment_number IS NOT NULL
    """,
    "CREATE INDEX data_sources_live ON data_sources (shape, taken_at) WHERE purpose = 'data' AND state = 'live'",
    """
    CREATE TABLE model_announcements (
        id {uuid} NOT NULL PRIMARY KEY,
        cluster TEXT NOT NULL,
        topic TEXT NOT NULL,
        partition BIGINT NOT NULL,
        log_offset BIGINT NOT NULL,
        string_id TEXT NOT NULL,
        input_shape TEXT NOT NULL,
        output_shape TEXT NOT NULL,
        restriction_json TEXT NOT NULL,
        min_data BIGINT NOT NULL,
        framework TEXT NOT NULL,
        distributed BOOLEAN NOT NULL,
        incremental BOOLEAN NOT NULL,
        blockchain BOOLEAN NOT NULL,
        announced_at BIGINT NOT NULL,
        taken_at BIGINT NOT NULL,
        body {bytes} NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        run_id {uuid}
    )
    """,
    "CREATE INDEX model_announcements_taken ON model_announcements (taken_at, id)",
    "CREATE INDEX model_announcements_string ON model_announcements (string_id)",
    """
    CREATE TABLE quarantined_records (
        id {uuid} NOT NULL PRIMARY KEY,
        cluster TEXT NOT NULL,
        cluster_id TEXT NOT NULL,
        topic TEXT NOT NULL,
        topic_id TEXT NOT NULL,
        partition BIGINT NOT NULL,
        log_offset BIGINT NOT NULL,
        purpose TEXT NOT NULL,
        announced_at BIGINT NOT NULL,
        taken_at BIGINT NOT NULL,
        key {bytes},
        value {bytes} NOT NULL,
        headers_json TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX quarantined_records_taken ON quarantined_records (taken_at, id)",
    "CREATE INDEX quarantined_records_waiting ON quarantined_records (taken_at) WHERE state = 'waiting'",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    names = {"uuid": "UUID", "bytes": "BYTEA"} if postgres else {"uuid": "TEXT", "bytes": "BLOB"}
    for statement in TABLES:
        db.execute_sql(statement.format(**names))
