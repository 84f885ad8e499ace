"""Which model each global model began with. Those of before began with the one of the round before theirs, if any."""

BEGUN_WITH = """
UPDATE models SET begun_with = (
    SELECT before.message_id FROM models AS before
    WHERE before.project_id = models.project_id AND before.run_id = models.run_id
      AND before.task_seq = models.task_seq AND before.round = models.round - 1
)
WHERE run_id IS NOT NULL
"""


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    db.execute_sql(f"ALTER TABLE models ADD COLUMN begun_with {uuid}")
    db.execute_sql(BEGUN_WITH)
