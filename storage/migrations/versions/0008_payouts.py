"""Payees and payouts: accepted on funds that are there, claimed, settled, returned."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0008_payouts"
down_revision = "0007_decisions"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED: dict[str, tuple[str, ...]] = {
    "0003_7_settlement.sql": ("app.settle",),
    "0003_9_people.sql": ("app.record_callback", "app.unfinished"),
    "0007_4_claims.sql": ("app.claim_effects",),
    "0007_6_following.sql": ("app.unattended",),
}


def upgrade() -> None:
    for part in sorted(_SQL.glob("0008_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0008_down.sql")
