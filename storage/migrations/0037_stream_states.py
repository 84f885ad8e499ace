"""How far the records of Kafka's control topics are decided, and how the bridge finds its clusters."""

TABLES = (
    """
    CREATE TABLE kafka_clusters (
        id {uuid} NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        cluster_id TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE stream_positions (
        cluster TEXT NOT NULL,
        topic TEXT NOT NULL,
        partition BIGINT NOT NULL,
        topic_id TEXT NOT NULL,
        decided_offset BIGINT NOT NULL,
        decided_at BIGINT NOT NULL,
        PRIMARY KEY (cluster, topic, partition)
    )
    """,
    """
    CREATE TABLE stream_partitions (
        cluster TEXT NOT NULL,
        topic TEXT NOT NULL,
        partition BIGINT NOT NULL,
        topic_id TEXT NOT NULL,
        end_offset BIGINT,
        taken_offset BIGINT NOT NULL,
        committed_offset BIGINT,
        oldest_at BIGINT,
        process TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (cluster, topic, partition)
    )
    """,
    """
    CREATE TABLE stream_bridges (
        cluster TEXT NOT NULL,
        process TEXT NOT NULL,
        trouble TEXT NOT NULL,
        under_way BIGINT NOT NULL,
        under_way_bytes BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (cluster, process)
    )
    """,
    """
    CREATE TABLE stream_counts (
        cluster TEXT NOT NULL,
        what TEXT NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (cluster, what)
    )
    """,
)


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid=uuid))
