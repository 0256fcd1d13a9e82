"""`bin/liushui` works from every folder, and runs nothing that lies in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "liushui"


def test_a_folder_with_modules_of_the_same_names_changes_nothing(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "a checkout", tmp_path / "elsewhere"
    for folder, said in ((root, "ours"), (elsewhere, "theirs")):
        (folder / "cli").mkdir(parents=True)
        (folder / "cli" / "__main__.py").write_text(f"import json\nprint({said!r})\n")
    (elsewhere / "json.py").write_text("print('theirs')\n")
    (root / "bin").mkdir()
    shutil.copy(SCRIPT, root / "bin")
    environment = root / "bin" / "environment"
    environment.write_text("#!/bin/sh\n")
    environment.chmod(0o755)
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    ended = subprocess.run([root / "bin" / "liushui"], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert ended.stdout == "ours\n"
