"""Members say until when they are ready for a project's rounds."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE memberships ADD COLUMN ready_until BIGINT")
