"""Entry point of the webhook sender: `python -m webhooks`. The only file of this room that wires."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from config.settings import WebhookSettings, load_or_exit
from domain.webhooks import JITTER_PERCENT
from runtime.clock import SystemClock
from runtime.health import serve_health
from runtime.logging import configure_logging
from runtime.redaction import redact_text
from storage.database import create_engine
from storage.webhooks import DeliveryQueue
from webhooks.calling import Caller, SystemResolver, plain_transport
from webhooks.sender import Sender


@asynccontextmanager
async def opened(settings: WebhookSettings) -> AsyncIterator[Sender]:
    """A sender with everything it needs; closed in good order."""
    engine = create_engine(settings.database_url.get_secret_value(), application_name="liushui-webhooks")
    resolver, transport = SystemResolver(), plain_transport()
    caller = Caller(transport, resolver, private_networks=settings.webhook_private_networks)
    try:
        yield Sender(
            DeliveryQueue(engine),
            caller,
            settings.webhook_key.get_secret_value(),
            SystemClock().now,
            jitter_percent=lambda: secrets.randbelow(JITTER_PERCENT + 1),
            redact=redact_text,
        )
    finally:
        resolver.close()
        await transport.aclose()
        await engine.dispose()


async def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    settings = load_or_exit(WebhookSettings)
    configure_logging("webhooks", settings.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with opened(settings) as sender, serve_health(settings.webhook_health_port, sender.is_healthy):
        await sender.run(stop)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
