"""The ledger: accounts, balances, transfers, holds, and the functions that are the only way to write them."""

from pathlib import Path

import ledger
from storage.migrate import execute_sql_file

revision = "0001_ledger"
down_revision = None
branch_labels = None
depends_on = None

_SQL = Path(ledger.__file__).parent / "sql"


def upgrade() -> None:
    for part in ("schema", "accounts", "apply", "reading"):
        execute_sql_file(_SQL / f"0001_{part}.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "0001_down.sql")
