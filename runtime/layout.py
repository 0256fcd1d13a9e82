"""How each part of a local stack is run: its command, its health, and variables with no needless secret."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.common import SearchAttributeKey

from runtime.parts import ChildPart, DatabasePart, Part, Provision, RemotePart, http_probe, port_probe
from runtime.postgres import EmbeddedPostgres
from runtime.secrets import LocalSecrets, age_recipient, public_key
from runtime.temporal import DEFAULT_NAMESPACE, connection, prepare_namespace

PORT_NAMES = (
    "temporal",
    "temporal_ui",
    "temporal_http",
    "temporal_metrics",
    "codec",
    "simulator",
    "api",
    "worker_health",
    "ops",
    "webhook_health",
)
# Above the longest time-out of a bank, so that a worker that is told to stop finishes the call it is in.
WORKER_GRACE_SECONDS = 45.0
# Above the time-out of an attempt, so that what is on its way is recorded and not sent again.
WEBHOOK_GRACE_SECONDS = 15.0
REMOTE_PATIENCE_SECONDS = 20.0
_UI_OF_ANOTHER_SERVER = "http://127.0.0.1:8233"
_PASSED_ON = frozenset({"PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"})
_TEMPORAL_TUNING = (
    # The default of 20 makes each workflow task cost 50 ms on an idle machine.
    "history.transferProcessorMaxPollRPS=1000",
    "history.timerProcessorMaxPollRPS=1000",
    # Four partitions are for many machines; on one they only add waiting.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # A process that a fault in our code holds up is to be found after seconds, not after the default's minute.
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2",
)


@dataclass
class StackLayout:
    """The plan of one stack: where everything listens and what every process is told."""

    folder: Path
    ports: Mapping[str, int]
    secrets: LocalSecrets = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    overrides: Mapping[str, Mapping[str, str]] = field(repr=False)
    search_attributes: Sequence[SearchAttributeKey[Any]] = ()
    database: DatabasePart | None = None

    @property
    def own_temporal(self) -> bool:
        """Whether the stack brings a Temporal server, or a profile names another."""
        return "target_host" not in connection_profile(self.variables)

    @property
    def addresses(self) -> dict[str, str]:
        """By name; a Temporal server of somebody else is shown where its profile says."""
        http = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        found = {name: http[name] for name in ("api", "codec", "ops", "simulator", "worker_health", "temporal_ui")}
        found |= {"api_docs": f"{http['api']}/docs", "temporal": f"127.0.0.1:{self.ports['temporal']}"}
        if not self.own_temporal:
            found["temporal"] = connection(self.variables)["target_host"]
            found["temporal_ui"] = self.variables.get("LIUSHUI_UI_ORIGIN", _UI_OF_ANOTHER_SERVER)
        return found

    def log(self, name: str) -> Path:
        """The log file of a part."""
        path = self.folder / "log" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def parts(self, server: EmbeddedPostgres, provision: Provision) -> dict[str, Part]:
        """All parts of this stack by name."""
        database = self.variables.get("DATABASE_URL") or server
        self.database = DatabasePart(database, provision, self.secrets.passwords)
        found: list[Part] = [self.database, self._codec(), self._simulator(), self._api()]
        found += [self._ops(), self._worker(), self._webhooks()]
        found.append(self._temporal() if self.own_temporal else self._other_temporal())
        return {part.name: part for part in found}

    def environment_of(self, name: str) -> dict[str, str]:
        """The variables of one process; each has what it needs and no other secret."""
        special = {
            "codec": self._codec_variables,
            "simulator": self._simulator_variables,
            "api": self._api_variables,
            "worker": self._worker_variables,
            "ops": self._ops_variables,
            "webhooks": self._webhook_variables,
            "migrations": self._migration_variables,
        }
        own = special[name]() if name in special else {}
        return {**self.plain_variables(), **own, **self.overrides.get(name, {})}

    def plain_variables(self) -> dict[str, str]:
        """What every process gets, none of it secret."""
        passed = {name: value for name, value in self.variables.items() if name in _PASSED_ON}
        return {**passed, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def _temporal(self) -> Part:
        return ChildPart(
            "temporal",
            "Temporal server",
            self._temporal_command(),
            environment=lambda: self.environment_of("temporal"),
            probe=_all_of(port_probe(self.ports["temporal"]), http_probe(self.ports["temporal_ui"], "/")),
            prepare=lambda: asyncio.run(self._prepare_namespace()),
            log=self.log("temporal"),
            ports={name: port for name, port in self.ports.items() if name.startswith("temporal")},
        )

    def _other_temporal(self) -> Part:
        address = self.addresses["temporal"]
        return RemotePart("temporal", "Temporal server", address, lambda: asyncio.run(self._prepare_other_namespace()))

    async def _prepare_other_namespace(self) -> None:
        config = connection(self._temporal_variables())
        await prepare_namespace(config, self.search_attributes, patience_seconds=REMOTE_PATIENCE_SECONDS)

    def _temporal_command(self) -> list[str]:
        (self.folder / "temporal").mkdir(exist_ok=True, mode=0o700)
        flags = {
            "--ip": "127.0.0.1",
            "--ui-ip": "127.0.0.1",
            "--port": str(self.ports["temporal"]),
            "--ui-port": str(self.ports["temporal_ui"]),
            "--http-port": str(self.ports["temporal_http"]),
            "--metrics-port": str(self.ports["temporal_metrics"]),
            "--ui-codec-endpoint": self.addresses["codec"],
            "--db-filename": str(self.folder / "temporal" / "temporal.sqlite"),
            "--namespace": DEFAULT_NAMESPACE,
            "--log-format": "json",
            "--log-level": "error",
        }
        command = [
            str(Path(sys.executable).parent / "temporal"),
            "server",
            "start-dev",
            "--ui-disable-news-fetch",
        ]
        command += [word for pair in flags.items() for word in pair]
        for pragma in ("journal_mode=wal", "synchronous=normal"):
            command += ["--sqlite-pragma", pragma]
        for value in _TEMPORAL_TUNING:
            command += ["--dynamic-config-value", value]
        for attribute in self.search_attributes:
            command += ["--search-attribute", f"{attribute.name}={_type_name(attribute)}"]
        return command

    async def _prepare_namespace(self) -> None:
        await prepare_namespace(connection(self._temporal_variables()), self.search_attributes)

    def _codec(self) -> Part:
        return self._python("codec", "codec server", ["-m", "runtime.codec_server"], port="codec")

    def _simulator(self) -> Part:
        return self._python("simulator", "bank simulator", ["-m", "banks.simulator"], port="simulator")

    def _api(self) -> Part:
        return self._served("api", "API", "api.app:create_app")

    def _ops(self) -> Part:
        return self._served("ops", "operators' API", "ops.app:create_app")

    def _served(self, name: str, title: str, factory: str) -> Part:
        address = ["--host", "127.0.0.1", "--port", str(self.ports[name])]
        quiet = ["--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "8"]
        command = ["-m", "uvicorn", factory, "--factory", *address, *quiet]
        return self._python(name, title, command, port=name, after=("postgres", "temporal"))

    def _worker(self) -> Part:
        return self._python(
            "worker",
            "worker",
            ["worker.py"],
            port="worker_health",
            after=("postgres", "temporal"),
            grace_seconds=WORKER_GRACE_SECONDS,
        )

    def _webhooks(self) -> Part:
        return self._python(
            "webhooks",
            "webhook sender",
            ["-m", "webhooks"],
            port="webhook_health",
            after=("postgres",),
            grace_seconds=WEBHOOK_GRACE_SECONDS,
        )

    def _python(
        self,
        name: str,
        title: str,
        command: Sequence[str],
        *,
        port: str,
        after: Sequence[str] = (),
        grace_seconds: float = 10.0,
    ) -> Part:
        return ChildPart(
            name,
            title,
            [sys.executable, *command],
            environment=lambda: self.environment_of(name),
            probe=http_probe(self.ports[port]),
            log=self.log(name),
            after=after,
            ports={port: self.ports[port]},
            grace_seconds=grace_seconds,
        )

    def _temporal_variables(self) -> dict[str, str]:
        passed = {name: value for name, value in self.variables.items() if name.startswith("TEMPORAL_")}
        if self.own_temporal:
            return {"TEMPORAL_ADDRESS": self.addresses["temporal"], "TEMPORAL_NAMESPACE": DEFAULT_NAMESPACE}
        return passed

    def _variables_of_all(self) -> dict[str, str]:
        level = self.variables.get("LIUSHUI_LOG_LEVEL", "INFO")
        return {**self._temporal_variables(), "LIUSHUI_ENVIRONMENT": "local", "LIUSHUI_LOG_LEVEL": level}

    def _codec_variables(self) -> dict[str, str]:
        return {
            **self._variables_of_all(),
            "LIUSHUI_PAYLOAD_KEYS": self.secrets.payload_keys,
            "LIUSHUI_CODEC_PORT": str(self.ports["codec"]),
            "LIUSHUI_CODEC_ORIGIN": self.addresses["codec"],
            "LIUSHUI_OPS_URL": self.addresses["ops"],
            "LIUSHUI_UI_ORIGIN": self.addresses["temporal_ui"],
        }

    def _simulator_variables(self) -> dict[str, str]:
        (self.folder / "simulator").mkdir(exist_ok=True, mode=0o700)
        return {
            "SIMULATOR_DATABASE": str(self.folder / "simulator" / "simulator.sqlite"),
            "SIMULATOR_PORT": str(self.ports["simulator"]),
            "SIMULATOR_SIGNING_KEY": self.secrets.simulator_signing_key,
            "SIMULATOR_INSTITUTION_PUBLIC_KEY": public_key(self.secrets.bank_signing_key),
            "SIMULATOR_NOTIFY_URL": self.addresses["api"],
        }

    def _store_variables(self, role: str) -> dict[str, str]:
        return {
            **self._variables_of_all(),
            "LIUSHUI_DATABASE_URL": self._database_url(role),
            "LIUSHUI_KEY_DATABASE_URL": self._database_url(f"key_{role}"),
            "LIUSHUI_ERASURE_DATABASE_URL": self._database_url(f"erasure_{role}"),
            "LIUSHUI_RETENTION_PUBLIC_KEY": age_recipient(self.secrets.retention_key),
            "LIUSHUI_MASTER_KEY": self.secrets.master_key,
            "LIUSHUI_INDEX_KEY": self.secrets.index_key,
            "LIUSHUI_PAYLOAD_KEYS": self.secrets.payload_keys,
        }

    def _application_variables(self) -> dict[str, str]:
        return {
            **self._store_variables("app"),
            "LIUSHUI_BANK_SIGNING_KEY": self.secrets.bank_signing_key,
            "LIUSHUI_SIMULATOR_URL": self.addresses["simulator"],
            "LIUSHUI_SIMULATOR_PUBLIC_KEY": public_key(self.secrets.simulator_signing_key),
        }

    def _api_variables(self) -> dict[str, str]:
        port = str(self.ports["api"])
        return {
            **self._application_variables(),
            **self._webhook_rules(),
            "LIUSHUI_API_HOST": "127.0.0.1",
            "LIUSHUI_API_PORT": port,
        }

    def _worker_variables(self) -> dict[str, str]:
        return {
            **self._application_variables(),
            "LIUSHUI_WORKER_HEALTH_PORT": str(self.ports["worker_health"]),
        }

    def _ops_variables(self) -> dict[str, str]:
        return {
            **self._store_variables("ops"),
            "LIUSHUI_OPERATOR_KEY": self.secrets.operator_key,
            "LIUSHUI_RETENTION_DATABASE_URL": self._database_url("retention"),
            "LIUSHUI_RETENTION_KEY": self.secrets.retention_key,
            "LIUSHUI_OPS_PORT": str(self.ports["ops"]),
        }

    def _webhook_variables(self) -> dict[str, str]:
        return {
            "LIUSHUI_ENVIRONMENT": "local",
            "LIUSHUI_LOG_LEVEL": self.variables.get("LIUSHUI_LOG_LEVEL", "INFO"),
            "LIUSHUI_DATABASE_URL": self._database_url("webhooks"),
            "LIUSHUI_WEBHOOK_HEALTH_PORT": str(self.ports["webhook_health"]),
            **self._webhook_rules(),
        }

    def _webhook_rules(self) -> dict[str, str]:
        # On a developer's machine the merchant's endpoint is on the same machine.
        return {"LIUSHUI_WEBHOOK_KEY": self.secrets.webhook_key, "LIUSHUI_WEBHOOK_PRIVATE_NETWORKS": "true"}

    def _migration_variables(self) -> dict[str, str]:
        return {
            "LIUSHUI_ENVIRONMENT": "local",
            "LIUSHUI_OWNER_DATABASE_URL": self._database_url("owner"),
            "LIUSHUI_KEY_OWNER_DATABASE_URL": self._database_url("key_owner"),
            "LIUSHUI_ERASURE_OWNER_DATABASE_URL": self._database_url("erasure_owner"),
        }

    def _database_url(self, role: str) -> str:
        return self.database.urls.get(role, "") if self.database else ""


def connection_profile(variables: Mapping[str, str]) -> Mapping[str, object]:
    """What a Temporal profile itself says, without our defaults."""
    from temporalio.envconfig import ClientConfig

    return dict(ClientConfig.load_client_connect_config(override_env_vars=variables))


def _type_name(attribute: SearchAttributeKey[Any]) -> str:
    """`INDEXED_VALUE_TYPE_KEYWORD_LIST` is `KeywordList` to the server's command line."""
    name = IndexedValueType.Name(attribute.indexed_value_type.value)  # type: ignore[arg-type]
    return name.removeprefix("INDEXED_VALUE_TYPE_").title().replace("_", "")


def _all_of(*probes: Callable[[], None]) -> Callable[[], None]:
    def probe() -> None:
        for single in probes:
            single()

    return probe
