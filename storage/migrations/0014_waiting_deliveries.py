"""How much waits for one webhook is bounded: it counts what was dropped, and what waits is found by index."""


def up(_, db):
    db.execute_sql("ALTER TABLE webhooks ADD COLUMN dropped BIGINT NOT NULL DEFAULT 0")
    db.execute_sql("CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook_id) WHERE state = 'waiting'")
