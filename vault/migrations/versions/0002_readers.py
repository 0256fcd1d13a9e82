"""The operators' API opens what a person may see; it makes no key and destroys none."""

from pathlib import Path

import vault
from storage.migrate import execute_sql_file

revision = "0002_readers"
down_revision = "0001_user_keys"
branch_labels = None
depends_on = None

_SQL = Path(vault.__file__).parent / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "keys_0002.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "keys_0002_down.sql")
