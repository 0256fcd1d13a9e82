"""Decisions, restrictions and withdrawals, and the send claim that meets them."""

from pathlib import Path

from storage.migrate import execute_sql_file

revision = "0007_decisions"
down_revision = "0006_operators"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "0007_decisions.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "0007_down.sql")
