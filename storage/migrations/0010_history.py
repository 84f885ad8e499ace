"""Which history this store tells, and how its entries follow each other: so that a restored one shows.

Entries from before have no mark; the chain of a mailbox begins with its next entry.
"""

TABLES = (
    """
    CREATE TABLE history (
        one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
        history_id {uuid} NOT NULL,
        since BIGINT NOT NULL,
        fingerprint TEXT NOT NULL,
        changes BIGINT NOT NULL,
        reason TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE recoveries (
        site_id {uuid} NOT NULL PRIMARY KEY,
        history_id {uuid} NOT NULL,
        at BIGINT NOT NULL,
        claim TEXT NOT NULL,
        common_seq BIGINT NOT NULL,
        read_after BIGINT NOT NULL,
        mark TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE revocations (
        name TEXT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL
    )
    """,
    "ALTER TABLE inbox ADD COLUMN mark TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE mailboxes ADD COLUMN mark TEXT NOT NULL DEFAULT ''",
)

_DRAWN = {
    "postgres": "gen_random_uuid()",
    "sqlite": "lower(substr(drawn, 1, 8) || '-' || substr(drawn, 9, 4) || '-4' || substr(drawn, 14, 3) || '-a' ||"
    " substr(drawn, 18, 3) || '-' || substr(drawn, 21, 12)) FROM (SELECT hex(randomblob(16)) AS drawn)",
}
_NOW = {
    "postgres": "CAST(extract(epoch FROM now()) * 1000000 AS BIGINT)",
    "sqlite": "CAST(strftime('%s', 'now') AS BIGINT) * 1000000",
}


def up(migrator, db):
    kind = "postgres" if type(migrator).__name__ == "PostgresqlMigrator" else "sqlite"
    for statement in TABLES:
        db.execute_sql(statement.format(uuid="UUID" if kind == "postgres" else "TEXT"))
    db.execute_sql(
        "INSERT INTO history (one, since, fingerprint, changes, reason, history_id)"
        f" SELECT 1, {_NOW[kind]}, '', 0, '', {_DRAWN[kind]}"
    )
