"""The Temporal client of every process: connected by profile (`temporalio.envconfig`), payloads encrypted.

Also what a namespace needs before the first workflow: its retention and the typed search attributes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from pydantic import SecretBytes
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client, Interceptor, Plugin
from temporalio.common import SearchAttributeKey
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from runtime.codec import EncryptionCodec, RefusalListener, log_refusal
from runtime.interceptors import RequestIds
from runtime.payloads import SafePayloadConverter

DEFAULT_ADDRESS = "127.0.0.1:7233"
DEFAULT_NAMESPACE = "liushui"
RETENTION = timedelta(days=30)
_LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")

logger = logging.getLogger(__name__)


class TemporalUnavailableError(Exception):
    """No Temporal server answered in time, or the connection is not allowed; the message says where."""


def data_converter(
    payload_keys: Sequence[tuple[str, SecretBytes]], namespace: str, on_refusal: RefusalListener = log_refusal
) -> DataConverter:
    """pydantic models as JSON, encrypted; error messages and stack traces too. Nothing else is read back."""
    return DataConverter(
        payload_converter_class=SafePayloadConverter,
        payload_codec=EncryptionCodec(payload_keys, namespace, on_refusal),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def connection(variables: Mapping[str, str] | None = None) -> ClientConnectConfig:
    """Address, namespace, TLS and key of the profile; `variables` stand in for the process's environment."""
    config = ClientConfig.load_client_connect_config(override_env_vars=variables)
    config.setdefault("target_host", DEFAULT_ADDRESS)
    config.setdefault("namespace", DEFAULT_NAMESPACE)
    return config


async def connect(
    payload_keys: Sequence[tuple[str, SecretBytes]],
    *,
    environment: str = "production",
    patience_seconds: float = 60.0,
    interceptors: Sequence[Interceptor] = (),
    plugins: Sequence[Plugin] = (),
    on_refusal: RefusalListener = log_refusal,
) -> Client:
    """Waits for the server for `patience_seconds`, then raises TemporalUnavailableError.

    The id of the request being served goes along with whatever the client sends, and on into the worker's log lines.
    """
    config = connection()
    address, namespace = config["target_host"], config["namespace"]
    if environment == "production" and not config.get("tls") and not address.startswith(_LOOPBACK):
        raise TemporalUnavailableError(f"Temporal at {address} must be reached over TLS in production; see the profile")
    converter = data_converter(payload_keys, namespace, on_refusal)
    return await _connect_patiently(config, converter, patience_seconds, (RequestIds(), *interceptors), plugins)


async def _connect_patiently(
    config: ClientConnectConfig,
    converter: DataConverter,
    patience_seconds: float,
    interceptors: Sequence[Interceptor] = (),
    plugins: Sequence[Plugin] = (),
) -> Client:
    deadline, pause, address = time.monotonic() + patience_seconds, 0.05, config["target_host"]
    while True:
        try:
            return await Client.connect(**config, data_converter=converter, interceptors=interceptors, plugins=plugins)
        except (
            RuntimeError,
            RPCError,
        ) as error:  # the SDK raises RuntimeError for an address nobody listens at
            if time.monotonic() + pause > deadline:
                message = f"Temporal at {address} did not answer within {patience_seconds:g} s"
                raise TemporalUnavailableError(message) from error
            logger.info("waiting for Temporal", extra={"address": address})
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)


async def prepare_namespace(
    config: ClientConnectConfig,
    attributes: Sequence[SearchAttributeKey[Any]] = (),
    *,
    patience_seconds: float = 60.0,
) -> None:
    """Creates the namespace, lengthens its retention to 30 days, adds the search attributes. Idempotent."""
    client = await _connect_patiently(config, DataConverter.default, patience_seconds)
    await ensure_retention(client, RETENTION)
    await register_search_attributes(client, attributes)


async def ensure_retention(client: Client, retention: timedelta) -> None:
    """Creates the client's namespace, or lengthens its retention; never shortens what somebody set longer."""
    wanted = Duration()
    wanted.FromTimedelta(retention)
    service, name = client.workflow_service, client.namespace
    try:
        found = await service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=wanted)
        await service.register_namespace(request)
        return
    if found.config.workflow_execution_retention_ttl.ToTimedelta() < retention:
        config = NamespaceConfig(workflow_execution_retention_ttl=wanted)
        await service.update_namespace(UpdateNamespaceRequest(namespace=name, config=config))


async def register_search_attributes(client: Client, attributes: Sequence[SearchAttributeKey[Any]]) -> None:
    """Adds what is missing. Raises ValueError when one exists under another type: that needs a person."""
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing: dict[str, Any] = {}
    for attribute in attributes:
        kind = attribute.indexed_value_type
        if known.custom_attributes.get(attribute.name, int(kind)) != int(kind):
            raise ValueError(f"the search attribute {attribute.name} exists under another type than {kind.name}")
        if attribute.name not in known.custom_attributes:
            missing[attribute.name] = int(kind)
    if missing:
        request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        await client.operator_service.add_search_attributes(request)
