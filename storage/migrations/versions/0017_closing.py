"""Closing an account, disputes, and forgetting."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0017_closing"
down_revision = "0016_retention"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED: dict[str, tuple[str, ...]] = {
    "0007_6_following.sql": ("app.record_consent",),
    "0008_3_accepting.sql": ("app.obstacle_to_payouts",),
    "0009_2_reach.sql": ("app.restricted",),
    "0014_b_following.sql": ("app.merchant_of_subject", "app.lock_subject", "app.why_not", "app.carry_out"),
}


def upgrade() -> None:
    for part in sorted(_SQL.glob("0017_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0017_down.sql")
