"""Numbers of deployments, results, models: they never begin anew."""


def up(_migrator, db):
    db.execute_sql(
        """
        CREATE TABLE stream_counters (
            name TEXT NOT NULL PRIMARY KEY,
            last BIGINT NOT NULL,
            changes BIGINT NOT NULL
        )
        """
    )
