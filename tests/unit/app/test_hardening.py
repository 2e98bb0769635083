"""What the process forbids itself, seen from outside of it."""

import json
import subprocess
import sys

_PROGRAM = """
import ctypes, json, os, resource, sys
from orchestrator.app.hardening import harden_process
os.umask(0)
harden_process()
with open(sys.argv[1], "w") as file:
    mode = os.fstat(file.fileno()).st_mode & 0o777
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(json.dumps({"mode": mode, "core": resource.getrlimit(resource.RLIMIT_CORE)[0], "dumpable": dumpable}))
"""


def test_a_hardened_process_leaves_nothing_to_others(tmp_path: object) -> None:
    """What it creates is private whatever the umask was, and no core dump is written, by its limit or its mark."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, f"{tmp_path}/file"], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == {"mode": 0o600, "core": 0, "dumpable": 0}
