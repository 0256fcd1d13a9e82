"""The vault: sealed personal data, blind indexes, and the logs of reads and disclosures."""

from pathlib import Path

import vault
from storage.migrate import execute_sql_file

revision = "0002_vault"
down_revision = "0001_ledger"
branch_labels = None
depends_on = None

_SQL = Path(vault.__file__).parent / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "0002_vault.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "0002_down.sql")
