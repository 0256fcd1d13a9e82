"""Alembic's entry to the key database; everything is in `storage.migrate`."""

from storage.migrate import run_environment

run_environment()
