"""Signing keys of merchants, the signatures of their instructions, mandates."""

from pathlib import Path

from storage.migrate import execute_sql_file

revision = "0005_signatures"
down_revision = "0004_events"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "0005_signatures.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "0005_down.sql")
