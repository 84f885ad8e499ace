"""Webhooks, what each of them is told, and how far each stream of events was looked at for them."""

TABLES = (
    """
    CREATE TABLE webhooks (
        id {uuid} NOT NULL PRIMARY KEY,
        owner_kind TEXT NOT NULL,
        owner_id {uuid} NOT NULL,
        url TEXT NOT NULL,
        kinds TEXT NOT NULL,
        description TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        since BIGINT NOT NULL,
        version BIGINT NOT NULL,
        rotated_at BIGINT,
        failing_since BIGINT,
        failures BIGINT NOT NULL
    )
    """,
    "CREATE INDEX webhooks_owner ON webhooks (owner_id)",
    """
    CREATE TABLE webhook_deliveries (
        id {uuid} NOT NULL PRIMARY KEY,
        webhook_id {uuid} NOT NULL,
        kind TEXT NOT NULL,
        cause TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        state_at BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        reported BIGINT NOT NULL,
        failures BIGINT NOT NULL,
        next_at BIGINT,
        status BIGINT,
        failure TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (cause, webhook_id)",
    "CREATE INDEX webhook_deliveries_listed ON webhook_deliveries (webhook_id, created_at, id)",
    "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'waiting'",
    "CREATE TABLE event_cursors (stream_id {uuid} NOT NULL PRIMARY KEY, seq BIGINT NOT NULL)",
    """
    CREATE INDEX events_told ON events (stream_id, seq) WHERE kind IN ('run_succeeded', 'run_failed', 'run_cancelled',
        'site_fell_silent', 'site_returned', 'identity_conflict', 'seat_left_out')
    """,
)


def up(migrator, db):
    kind = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid=kind))
