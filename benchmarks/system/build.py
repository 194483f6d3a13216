"""Compiles the generator's modules in place when one is missing or older than its source; see ../setup.py."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
_SETUP = HERE.parent / "setup.py"
_LOCK = HERE.parent.parent / "build" / "benchmarks.lock"


def stale() -> bool:
    """Whether a module has to be compiled."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    declarations = list(HERE.glob("*.pxd"))
    newest_declaration = max(path.stat().st_mtime for path in declarations)
    for pxd in declarations:
        if pxd.stem == "kernel":
            continue
        source, built = pxd.with_suffix(".py"), pxd.with_name(pxd.stem + str(suffix))
        if not built.exists() or built.stat().st_mtime < max(source.stat().st_mtime, newest_declaration):
            return True
    return False


def ensure() -> None:
    """Compiles what has to be, unless BENCHMARKS_PURE asks for the interpreted source. Raises CalledProcessError with the compiler's words."""
    if os.environ.get("BENCHMARKS_PURE"):
        return
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stale():
            print("compiling the load generator …", file=sys.stderr)
            done = subprocess.run([sys.executable, str(_SETUP), "-q", "build_ext"], capture_output=True, text=True, check=False)
            if done.returncode:
                print(done.stdout, done.stderr, file=sys.stderr, sep="\n")
                done.check_returncode()
            for built in HERE.glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
                os.utime(built)
