"""Signing keys of merchants, the signatures of their instructions, mandates."""

from pathlib import Path

from storage.migrate import execute_sql_file

revision = "0005_signatures"
down_revision = "0004_events"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    for part in sorted(_SQL.glob("0005_[0-9]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    execute_sql_file(_SQL / "0005_down_1_drop.sql")
    # What this migration replaced comes back as it was.
    execute_sql_file(_SQL / "0003_3_requests.sql")
    execute_sql_file(_SQL / "0005_down_2_rights.sql")
