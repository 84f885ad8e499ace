"""Since when the data of a match are known to be there."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE matches ADD COLUMN checked_at BIGINT")
