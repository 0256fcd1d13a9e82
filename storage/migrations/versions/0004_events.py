"""Webhook endpoints, their secrets, deliveries, and the reading of events."""

from pathlib import Path

from storage.migrate import execute_sql_file

revision = "0004_events"
down_revision = "0003_app"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    for part in sorted(_SQL.glob("0004_[0-9]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    execute_sql_file(_SQL / "0004_down.sql")
