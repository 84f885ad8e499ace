"""The records: organisations to outbox. Frozen: later changes are later migrations."""

TABLES = (
    """
    CREATE TABLE organisations (
        id {uuid} NOT NULL,
        name TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE accounts (
        id {uuid} NOT NULL,
        organisation_id {uuid} NOT NULL,
        name TEXT NOT NULL,
        role TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        disabled_at BIGINT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE tokens (
        id {uuid} NOT NULL,
        owner_kind TEXT NOT NULL,
        owner_id {uuid} NOT NULL,
        sha256 TEXT NOT NULL,
        label TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE enrolments (
        id {uuid} NOT NULL,
        organisation_id {uuid} NOT NULL,
        sha256 TEXT NOT NULL,
        note TEXT NOT NULL,
        created_by {uuid} NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        used_at BIGINT,
        site_id {uuid},
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE sites (
        id {uuid} NOT NULL,
        organisation_id {uuid} NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        identity_key TEXT NOT NULL,
        state TEXT NOT NULL,
        state_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE mailboxes (
        site_id {uuid} NOT NULL,
        last_seq BIGINT NOT NULL,
        acknowledged_seq BIGINT NOT NULL,
        PRIMARY KEY (site_id)
    )
    """,
    """
    CREATE TABLE projects (
        id {uuid} NOT NULL,
        organisation_id {uuid} NOT NULL,
        coordinator_site_id {uuid} NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        data_format TEXT NOT NULL,
        client_image TEXT NOT NULL,
        joining TEXT NOT NULL,
        max_live_runs BIGINT NOT NULL,
        tasks_json TEXT NOT NULL,
        last_run_number BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        archived_at BIGINT,
        version BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE memberships (
        project_id {uuid} NOT NULL,
        site_id {uuid} NOT NULL,
        role TEXT NOT NULL,
        state TEXT NOT NULL,
        notes TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        state_at BIGINT NOT NULL,
        PRIMARY KEY (project_id, site_id)
    )
    """,
    """
    CREATE TABLE runs (
        id {uuid} NOT NULL,
        project_id {uuid} NOT NULL,
        coordinator_site_id {uuid} NOT NULL,
        number BIGINT NOT NULL,
        attempt BIGINT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        created_by {uuid} NOT NULL,
        created_at BIGINT NOT NULL,
        deadline_at BIGINT NOT NULL,
        started_at BIGINT,
        ended_at BIGINT,
        restart_of {uuid},
        version BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE task_runs (
        id {uuid} NOT NULL,
        run_id {uuid} NOT NULL,
        seq BIGINT NOT NULL,
        name TEXT NOT NULL,
        spec_json TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        round BIGINT NOT NULL,
        first_round BIGINT NOT NULL,
        model_message_id {uuid},
        started_at BIGINT,
        ended_at BIGINT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE rounds (
        task_run_id {uuid} NOT NULL,
        number BIGINT NOT NULL,
        run_id {uuid} NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        quorum BIGINT NOT NULL,
        deadline_at BIGINT NOT NULL,
        started_at BIGINT NOT NULL,
        stage_at BIGINT NOT NULL,
        ended_at BIGINT,
        metrics_json TEXT NOT NULL,
        model_message_id {uuid},
        PRIMARY KEY (task_run_id, number)
    )
    """,
    """
    CREATE TABLE seats (
        task_run_id {uuid} NOT NULL,
        site_id {uuid} NOT NULL,
        run_id {uuid} NOT NULL,
        round BIGINT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        report_seq BIGINT NOT NULL,
        state_at BIGINT NOT NULL,
        metrics_json TEXT NOT NULL,
        update_message_id {uuid},
        PRIMARY KEY (task_run_id, site_id)
    )
    """,
    """
    CREATE TABLE submissions (
        task_run_id {uuid} NOT NULL,
        round BIGINT NOT NULL,
        site_id {uuid} NOT NULL,
        run_id {uuid} NOT NULL,
        metrics_json TEXT NOT NULL,
        update_message_id {uuid},
        started_at BIGINT NOT NULL,
        submitted_at BIGINT NOT NULL,
        PRIMARY KEY (task_run_id, round, site_id)
    )
    """,
    """
    CREATE TABLE messages (
        id {uuid} NOT NULL,
        sender_site_id {uuid} NOT NULL,
        project_id {uuid} NOT NULL,
        run_id {uuid},
        task_seq BIGINT,
        round BIGINT,
        kind TEXT NOT NULL,
        body {bytes},
        size_bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        recipient_count BIGINT NOT NULL,
        sent_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        expired_at BIGINT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE inbox (
        site_id {uuid} NOT NULL,
        seq BIGINT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        message_id {uuid},
        project_id {uuid},
        run_id {uuid},
        task_seq BIGINT,
        round BIGINT,
        facts_json TEXT NOT NULL,
        state_at BIGINT,
        PRIMARY KEY (site_id, seq)
    )
    """,
    """
    CREATE TABLE streams (
        id {uuid} NOT NULL,
        kind TEXT NOT NULL,
        last_seq BIGINT NOT NULL,
        last_hash TEXT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE events (
        stream_id {uuid} NOT NULL,
        seq BIGINT NOT NULL,
        kind TEXT NOT NULL,
        at BIGINT NOT NULL,
        command_id {uuid} NOT NULL,
        subject_kind TEXT NOT NULL,
        subject_id {uuid} NOT NULL,
        run_id {uuid},
        site_id {uuid},
        facts_json TEXT NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (stream_id, seq)
    )
    """,
    """
    CREATE TABLE commands (
        id {uuid} NOT NULL,
        kind TEXT NOT NULL,
        subject_kind TEXT NOT NULL,
        subject_id {uuid} NOT NULL,
        state TEXT NOT NULL,
        status BIGINT NOT NULL,
        answer_json TEXT NOT NULL,
        digest TEXT NOT NULL,
        decided_at BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE outbox (
        id {uuid} NOT NULL,
        envelope_json TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
)

INDEXES = (
    "CREATE UNIQUE INDEX organisations_name ON organisations (name)",
    "CREATE INDEX accounts_organisation ON accounts (organisation_id)",
    "CREATE UNIQUE INDEX tokens_sha256 ON tokens (sha256)",
    "CREATE INDEX tokens_owner ON tokens (owner_id)",
    "CREATE UNIQUE INDEX enrolments_sha256 ON enrolments (sha256)",
    "CREATE UNIQUE INDEX sites_name ON sites (name)",
    "CREATE INDEX sites_organisation ON sites (organisation_id)",
    "CREATE UNIQUE INDEX projects_name ON projects (name)",
    "CREATE INDEX projects_coordinator ON projects (coordinator_site_id)",
    "CREATE INDEX memberships_site ON memberships (site_id)",
    "CREATE UNIQUE INDEX runs_number ON runs (project_id, number, attempt)",
    "CREATE INDEX runs_live ON runs (deadline_at) WHERE state IN ('created', 'running')",
    "CREATE INDEX runs_live_project ON runs (project_id) WHERE state IN ('created', 'running')",
    "CREATE UNIQUE INDEX task_runs_seq ON task_runs (run_id, seq)",
    "CREATE INDEX rounds_run ON rounds (run_id)",
    "CREATE INDEX rounds_live ON rounds (deadline_at) WHERE state IN ('selecting', 'training', 'aggregating')",
    "CREATE INDEX seats_run ON seats (run_id)",
    """
    CREATE INDEX seats_live ON seats (site_id)
    WHERE state IN ('invited', 'preparing', 'ready', 'training', 'uploading', 'submitted')
    """,
    "CREATE INDEX submissions_run ON submissions (run_id)",
    "CREATE INDEX messages_expiry ON messages (expires_at) WHERE expired_at IS NULL",
    "CREATE INDEX inbox_message ON inbox (message_id)",
    "CREATE INDEX inbox_settled ON inbox (state_at) WHERE state <> 'queued'",
    "CREATE INDEX events_run ON events (run_id, seq) WHERE run_id IS NOT NULL",
    "CREATE INDEX commands_decided ON commands (decided_at)",
)


def up(migrator, db):
    postgres = type(migrator).__name__ == "PostgresqlMigrator"
    types = {"uuid": "UUID" if postgres else "TEXT", "bytes": "BYTEA" if postgres else "BLOB"}
    for statement in TABLES:
        db.execute_sql(statement.format(**types))
    for statement in INDEXES:
        db.execute_sql(statement)
