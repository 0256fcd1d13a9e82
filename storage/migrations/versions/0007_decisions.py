"""Decisions, restrictions and withdrawals, and the send claim that meets them."""

from pathlib import Path

from storage.migrate import execute_sql_file, restore_functions

revision = "0007_decisions"
down_revision = "0006_operators"
branch_labels = None
depends_on = None

_SQL = Path(__file__).resolve().parents[2] / "sql"
# What this migration replaces, and where its former bodies are.
_REPLACED = {
    "0003_2_views.sql": ("app.payment_view", "app.refund_view"),
    "0003_4_payments.sql": ("app.accept_one_payment", "app.accept_payments"),
    "0003_5_refunds.sql": ("app.accept_one_refund", "app.accept_refunds"),
    "0003_6_effects.sql": ("app.claim_one_effect", "app.claim_effects"),
    "0003_8_codes.sql": ("app.claim_code_attempt", "app.claim_code_resend"),
    "0003_9_people.sql": ("app.accept_binding", "app.record_consent", "app.unattended"),
}


def upgrade() -> None:
    for part in sorted(_SQL.glob("0007_[0-9]_*.sql")):
        execute_sql_file(part)


def downgrade() -> None:
    for file, names in _REPLACED.items():
        restore_functions(_SQL.joinpath(file), names)
    execute_sql_file(_SQL / "0007_down.sql")
