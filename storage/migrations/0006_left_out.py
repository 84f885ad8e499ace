"""Submissions that are not in their round's model say why."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE submissions ADD COLUMN left_out TEXT NOT NULL DEFAULT ''")
