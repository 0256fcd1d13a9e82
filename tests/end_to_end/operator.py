"""What an operator has: a client of Temporal with the payload keys, and one without."""

from __future__ import annotations

from pydantic import SecretBytes
from temporalio.client import Client

from config.settings import ApiSettings
from runtime.temporal import DEFAULT_NAMESPACE, data_converter
from tests.end_to_end.world import World


async def temporal_client(world: World, *, with_keys: bool = True) -> Client:
    """A client of the stack's Temporal server; without keys it sees what anybody sees who gets at the server."""
    address = world.stack.addresses["temporal"]
    if not with_keys:
        return await Client.connect(address, namespace=DEFAULT_NAMESPACE)
    converter = data_converter(payload_keys(world), DEFAULT_NAMESPACE)
    return await Client.connect(address, namespace=DEFAULT_NAMESPACE, data_converter=converter)


def payload_keys(world: World) -> tuple[tuple[str, SecretBytes], ...]:
    """As the worker reads them."""
    variables = world.stack.environment["api"]
    names = {name.removeprefix("LIUSHUI_").lower(): value for name, value in variables.items() if "LIUSHUI_" in name}
    return ApiSettings(**names).payload_keys  # type: ignore[arg-type]
