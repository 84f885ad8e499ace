"""How often clusters were called, and how long that took: told by whoever calls them, read by the web's metrics."""


def up(_migrator, db):
    db.execute_sql(
        "CREATE TABLE cluster_calls (cluster TEXT NOT NULL, verb TEXT NOT NULL, outcome TEXT NOT NULL,"
        " within_ms BIGINT NOT NULL, calls BIGINT NOT NULL, micros BIGINT NOT NULL,"
        " PRIMARY KEY (cluster, verb, outcome, within_ms))"
    )
