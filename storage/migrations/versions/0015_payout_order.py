"""Payouts are numbered in the order in which they were accepted."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0015_payout_order"
down_revision = "0014_fx"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "0015_payout_order.sql")


def downgrade() -> None:
    restore_functions(_SQL / "0011_2_risk.sql", ("app.risk_inputs",))
    execute_sql_file(_SQL / "0015_down.sql")
