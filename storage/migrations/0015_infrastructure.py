"""Projects may say what their own coordinator and selectors are made of."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE projects ADD COLUMN infrastructure_json TEXT NOT NULL DEFAULT ''")
