"""`python -m cli`."""

from __future__ import annotations

import signal


def run() -> None:
    """Loads the commands and runs one; Ctrl-C while they load ends the process without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.main import main

    signal.signal(signal.SIGINT, handler)
    main()


if __name__ == "__main__":
    run()
