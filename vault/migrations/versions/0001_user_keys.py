"""The wrapped data keys of the users."""

from pathlib import Path

import vault
from storage.migrate import execute_sql_file

revision = "0001_user_keys"
down_revision = None
branch_labels = None
depends_on = None

_SQL = Path(vault.__file__).parent / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "keys_0001.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "keys_0001_down.sql")
