"""The institution's books beside the ledger: requests, people, instructions, effects, the settlement, the outbox."""

from pathlib import Path

from storage.migrate import execute_sql_file

revision = "0003_app"
down_revision = "0002_vault"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    for part in sorted(_SQL.glob("0003_[0-9a]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    execute_sql_file(_SQL / "0003_down.sql")
