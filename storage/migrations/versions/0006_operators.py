"""Operators, their roles, credentials and sessions, and what each of them read."""

from pathlib import Path

from storage.migrate import execute_sql_file

revision = "0006_operators"
down_revision = "0005_signatures"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    for part in sorted(_SQL.glob("0006_[0-9]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    execute_sql_file(_SQL / "0006_down.sql")
