"""Submissions whose sites do not find them in their round's model say why."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE submissions ADD COLUMN missing_receipt TEXT NOT NULL DEFAULT ''")
