"""The retention store: what the law keeps of those who left, sealed and apart."""

from pathlib import Path

from storage.migrate import execute_sql_file

revision = "0016_retention"
down_revision = "0015_payout_order"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    for part in sorted(_SQL.glob("0016_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    execute_sql_file(_SQL / "0016_down.sql")
