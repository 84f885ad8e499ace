"""What a project has at a cluster goes when it is archived and nothing of it runs there any more."""


def up(_migrator, db):
    db.execute_sql("ALTER TABLE workloads ADD COLUMN place_gone_at BIGINT")
