"""Engines: how every process connects to PostgreSQL."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

CONNECT_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_MILLISECONDS = 30_000


def create_engine(url: str, *, pool_size: int = 10, application_name: str = "liushui") -> AsyncEngine:
    """An engine on asyncpg for a `postgresql+asyncpg://` URL. Parameters never appear in errors or logs.

    A statement that runs longer than 30 s is ended by the server, so that a lock never holds a process for ever.
    """
    settings = {
        "application_name": application_name,
        "statement_timeout": str(STATEMENT_TIMEOUT_MILLISECONDS),
    }
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"timeout": CONNECT_TIMEOUT_SECONDS, "server_settings": settings},
    )
