"""The erasure list: what was forgotten and has to be forgotten again on restored data."""

from pathlib import Path

import vault
from storage.migrate import execute_sql_file

revision = "0001_erasure_list"
down_revision = None
branch_labels = None
depends_on = None

_SQL = Path(vault.__file__).parent / "sql"


def upgrade() -> None:
    execute_sql_file(_SQL / "erasures_0001.sql")


def downgrade() -> None:
    execute_sql_file(_SQL / "erasures_0001_down.sql")
