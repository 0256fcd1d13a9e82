"""Risk decisions and screening lists."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0011_risk"
down_revision = "0010_calendars"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED = {
    "0008_1_tables.sql": (
        "app.screening_obstacle",
        "app.merchant_of_screening",
        "app.why_not_screening",
        "app.carry_out_screening",
    ),
}


def upgrade() -> None:
    for part in sorted(_SQL.glob("0011_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0011_down.sql")
