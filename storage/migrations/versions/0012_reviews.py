"""The review queue, and what is late in payouts."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0012_reviews"
down_revision = "0011_risk"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED: dict[str, tuple[str, ...]] = {
    "0008_1_tables.sql": (
        "app.merchant_of_review",
        "app.amount_of_review",
        "app.why_not_review",
        "app.carry_out_review",
    ),
}


def upgrade() -> None:
    for part in sorted(_SQL.glob("0012_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0012_down.sql")
