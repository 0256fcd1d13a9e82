"""Alembic's entry to the database of erasures; everything is in `storage.migrate`."""

from storage.migrate import run_environment

run_environment()
