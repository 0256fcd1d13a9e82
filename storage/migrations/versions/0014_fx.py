"""Foreign currency: remittances, conversions under a quota, reversals, returns."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0014_fx"
down_revision = "0013_settlements"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED: dict[str, tuple[str, ...]] = {
    "0008_6_following.sql": ("app.record_callback",),
    "0009_1_tables.sql": ("ledger.normal_side_of", "ledger.kind_is_known"),
    "0009_4_decisions.sql": (
        "app.merchant_of_subject", "app.lock_subject", "app.parked_step", "app.why_not_instruction", "app.why_not",
    ),
    "0009_5_carrying_out.sql": ("app.carry_out",),
    "0009_6_following.sql": ("app.check_decision",),
    "0010_2_calendars.sql": ("app.load_calendar",),
}  # fmt: skip


def upgrade() -> None:
    for part in sorted(_SQL.glob("0014_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    for part in sorted(_SQL.glob("0014_down*.sql")):
        execute_sql_file(part)
