"""Freezes of amounts, which reach what is already waiting; decisions on payouts."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0009_freezes"
down_revision = "0008_payouts"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where the former bodies are.
_REPLACED = {
    "0007_2_effects.sql": (
        "app.restriction_view", "app.merchant_of_subject", "app.lock_subject", "app.parked_step", "app.why_not",
        "app.place_restriction", "app.lift_restrictions", "app.register_authority_order", "app.carry_out",
    ),
    "0007_3_decisions.sql": ("app.request_decision",),
    "0007_4_claims.sql": ("app.restricted",),
    "0007_6_following.sql": ("app.report_user", "app.check_decision", "app.open_reviews"),
    "0008_1_tables.sql": ("app.payout_obstacle", "app.transfers_with_freezes", "app.lock_freezes_of"),
}  # fmt: skip
# These are made of all columns of a table, so that they can only come back once its new ones are gone.
_OF_ALL_COLUMNS = ("app.in_force", "app.fixed_subject")


def upgrade() -> None:
    for part in sorted(_SQL.glob("0009_[0-9a-z]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0009_down.sql")
    restore_functions(_SQL / "0007_2_effects.sql", _OF_ALL_COLUMNS)
