"""A job has files: which artifacts it finds, and which it has left."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE workloads ADD COLUMN files_json TEXT NOT NULL DEFAULT '{}'")
