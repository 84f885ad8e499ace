"""A project's own coordinator and selectors are workloads: which of them one is."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE workloads ADD COLUMN part TEXT NOT NULL DEFAULT ''")
