"""The scan is that of the demo: what is planted is looked for in one way everywhere."""

from __future__ import annotations

from cli.needles import Needles

__all__ = ["Needles"]
