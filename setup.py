"""Optional Cython build: every module of src/ with a .pxd of its own beside it is compiled.

ENTREPOT_PURE=1 builds no extension. Without a C compiler none is built either, with one line that says so:
the same sources run interpreted.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SOURCE = Path("src")
INLINE_ONLY = {Path("src/entrepot/model/octets.py")}  # its .pxd is inlined into its users; the .py is the interpreted twin
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": True,  # network bytes: never off
    "wraparound": False,  # a negative index is an error, not "from the end"
    "initializedcheck": True,
    "nonecheck": True,
    "annotation_typing": False,  # the .pxd is the only source of C types
    "cdivision": False,
    "auto_pickle": False,  # a fifth of the compile time, for what nobody does
}
# What runs once per call or batch rather than per record gains nothing by -O2, and compiles in two thirds of the time with -O1.
PER_BATCH = {
    Path("src/entrepot") / f"{name}.py"
    for name in (
        "net/connection",
        "net/receive_buffer",
        *(f"broker/{name}" for name in ("consumer", "entry_codec", "hub", "link", "log_owner", "partition_calls", "port", "reading", "topic")),
        *(f"store/{name}" for name in ("interface", "volatile", "volatile_log", "local/committer", "local/group", "local/store")),
        *(f"protocols/amqp091/{name}" for name in ("assembly", "events", "reply_to", "session")),
        *(f"protocols/sqs/{name}" for name in ("exchange", "framing", "output", "session")),
        *(f"protocols/kafka/{name}" for name in ("exchange", "fetch", "framing", "output", "produce", "schema", "session")),
    )
}


def hot_modules() -> list[Path]:
    """Sources with a .pxd beside them, the largest first, so that a parallel build ends evenly."""
    found = [pxd.with_suffix(".py").relative_to(ROOT) for pxd in (ROOT / SOURCE).rglob("*.pxd")]
    return sorted((path for path in found if (ROOT / path).exists() and path not in INLINE_ONLY), key=lambda path: (-(ROOT / path).stat().st_size, path))


def have_compiler() -> bool:
    """A C compiler, and Python's headers for it."""
    words = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    return shutil.which(words[0]) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def extensions() -> list[Extension]:
    if os.environ.get("ENTREPOT_PURE"):
        return []
    if not have_compiler():
        print("entrepot: no C compiler (or no Python headers) found; installing the interpreted modules (the same source, slower)", file=sys.stderr)
        return []
    from Cython.Build import cythonize

    cflags = ["-g1", "-Wno-sign-compare", *os.environ.get("ENTREPOT_CFLAGS", "").split()]
    lflags = os.environ.get("ENTREPOT_LDFLAGS", "").split()
    return cythonize(
        [
            Extension(
                ".".join(path.relative_to(SOURCE).with_suffix("").parts),
                [str(path)],
                extra_compile_args=["-O1" if path in PER_BATCH else "-O2", *cflags],
                extra_link_args=lflags,
            )
            for path in hot_modules()
        ],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        include_path=[str(SOURCE)],
        nthreads=os.cpu_count() or 1,
        annotate=bool(os.environ.get("ENTREPOT_ANNOTATE")),
    )


class ParallelBuild(build_ext):
    """Builds extensions side by side on every core."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count() or 1


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": ParallelBuild})
