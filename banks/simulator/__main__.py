"""`python -m banks.simulator`: runs the simulated banks on loopback until SIGINT or SIGTERM."""

from __future__ import annotations

import logging
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from banks.simulator.app import create_app
from banks.simulator.gateway import Gateway
from banks.simulator.settings import SimulatorSettings


class SimulatorServer(uvicorn.Server):
    """Says in one line that it is ready, and on a signal lets no waiting fault hold up the end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Prints the address once requests are taken."""
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print(f"bank simulator ready on http://127.0.0.1:{port}", flush=True)  # the launcher reads this line

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends requests that hang on purpose, then stops as usual; an asked-for stop exits 0."""
        gateway = getattr(self._app.state, "gateway", None)
        if isinstance(gateway, Gateway):
            gateway.stopping.set()
        self.should_exit = True


def main() -> int:
    """Reads the settings, serves, answers the exit code."""
    try:
        settings = SimulatorSettings()
    except ValidationError as error:
        for item in error.errors(include_input=False, include_context=False, include_url=False):
            name = "_".join(str(part) for part in item["loc"]).upper()
            print(f"SIMULATOR_{name}: {item['msg']}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("banks.simulator").setLevel(logging.INFO)
    app = create_app(settings)
    # No access log: the path of /control/messages holds a mobile number.
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=settings.port,
        access_log=False,
        log_config=None,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
        backlog=1024,
    )
    server = SimulatorServer(config, app)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
