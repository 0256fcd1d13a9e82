"""The wrapped keys of retained records."""

from pathlib import Path

import vault
from storage.migrate import execute_sql_file

revision = "0003_retention_keys"
down_revision = "0002_readers"
branch_labels = None
depends_on = None

_SQL = Path(vault.__file__).parent / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "keys_0003.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "keys_0003_down.sql")
