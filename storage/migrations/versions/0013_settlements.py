"""Settlement of merchants: what their users paid them, once a business day."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0013_settlements"
down_revision = "0012_reviews"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED: dict[str, tuple[str, ...]] = {
    "0008_1_tables.sql": ("app.merchant_of_settlement", "app.why_not_settlement", "app.carry_out_settlement"),
}


def upgrade() -> None:
    for part in sorted(_SQL.glob("0013_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0013_down.sql")
