"""Calendars and hours of banks, as operators load them, and the release slots of payouts."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0010_calendars"
down_revision = "0009_freezes"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED = {"0008_1_tables.sql": ("app.slot_obstacle",)}


def upgrade() -> None:
    for part in sorted(_SQL.glob("0010_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0010_down.sql")
