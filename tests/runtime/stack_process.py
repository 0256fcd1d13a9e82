"""A supervisor in a process of its own, for tests that end it from outside: `python -m tests.runtime.stack_process`.

Prints `up` when every part is well, then supervises until SIGINT or SIGTERM, as `liushui up` does.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from runtime.stack import LocalStack


async def without_schemas(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Stands in for provisioning, whose own tests are elsewhere: every role is the administrator."""
    return dict.fromkeys(passwords, admin_url)


def main() -> None:
    stack = LocalStack(Path(sys.argv[1]), provision=without_schemas, parts=sys.argv[2:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stack.ask_to_stop())
    try:
        stack.start()
        print("up", flush=True)
        stack.supervise(lambda line: print(line, flush=True))
    finally:
        stack.stop()


if __name__ == "__main__":
    main()
