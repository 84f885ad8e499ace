"""What TensorFlow's models are as files, and since when a deployment waits for nothing else."""


def up(migrator, db):
    uuid = "UUID" if type(migrator).__name__ == "PostgresqlMigrator" else "TEXT"
    db.execute_sql("ALTER TABLE deployments ADD COLUMN prepared_at BIGINT")
    db.execute_sql(
        f"""
        CREATE TABLE model_files (
            architecture_id {uuid} NOT NULL,
            version BIGINT NOT NULL,
            project_id {uuid} NOT NULL,
            artifact_id {uuid} NOT NULL,
            made_at BIGINT NOT NULL,
            PRIMARY KEY (architecture_id, version)
        )
        """
    )
