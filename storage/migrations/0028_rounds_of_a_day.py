"""How many rounds a project's own coordinator has begun within a day is counted whenever one reports."""


def up(_, db):
    db.execute_sql("CREATE INDEX project_rounds_started ON project_rounds (project_id, started_at)")
