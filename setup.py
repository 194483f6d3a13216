"""Optional Cython build: every module of src/ with a .pxd of its own beside it is compiled.

ENTREPOT_PURE=1 builds no extension. Without a C compiler none is built either, with one line that says so:
the same sources run interpreted.
"""

import gc
import os
import shutil
import subprocess
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
    "binding": False,  # a function is Python's own kind of built-in one: nothing is made for it when its module is imported
    "emit_code_comments": False,  # each line of source, five times over
}
SHARED = "entrepot._cython"  # what Cython's modules have in common, once rather than in each of them
# How hard the C compiler tries: -O2 where a benchmark of single modules shows a gain over -O1; -O1 for what looks at every byte, record or message;
# and for all else, which runs once for each request, call or batch, -Og, which takes two thirds of -O1's time.
PER_BYTE = {
    Path("src/entrepot") / f"{name}.py"
    for name in (
        *(f"protocols/amqp091/{name}" for name in ("assembly", "checks", "codec", "output", "properties")),
        *(f"protocols/{name}" for name in ("kafka/from_neutral", "kafka/to_neutral", "sqs/characters", "sqs/json_values", "sqs/long_bodies")),
        "broker/timed/lease_table",  # a row of packed numbers: -O1 calls a function for each of them
    )
}
PER_RECORD = {
    Path("src/entrepot") / f"{name}.py"
    for name in (
        *(f"model/{name}" for name in ("batch", "entry", "range_block", "ranges")),
        *(f"broker/{name}" for name in ("calls/lease_calls", "catalogue/matching", "catalogue/routing", "front/publisher", "logs/cursor", "logs/entry_shelf")),
        *(f"broker/{name}" for name in ("producers/deduplication", "queue/queue", "subscription/leases", "front/door", "calls/port", "logs/hub")),
        *(f"broker/{name}" for name in ("owner/local_owner", "front/places")),
        *(f"broker/timed/{name}" for name in ("grants", "group_scan", "group_window", "lease_ends", "lease_state")),
        *(f"broker/timed/{name}" for name in ("offset_table", "repeats", "sending", "timed_queue", "timed_state", "waiting_line", "waits")),
        *(f"protocols/amqp091/{name}" for name in ("channel", "records", "session", "translation")),
        *(f"protocols/kafka/{name}" for name in ("fetch_codec", "lz4_frame", "primitives", "produce_codec")),
        *(f"protocols/kafka/{name}" for name in ("record_batch", "record_cursor", "record_scan", "records")),
        *(f"protocols/mqtt/{name}" for name in ("codec", "output", "packing", "publish_properties", "records")),
        *(f"protocols/mqtt/{name}" for name in ("delivering", "flights", "publishing", "session")),
        *(f"protocols/sqs/{name}" for name in ("batches", "exchange", "framing", "handles", "message_attributes", "packing")),
        *(f"protocols/sqs/{name}" for name in ("receiving", "sending", "session", "settling", "writing")),  # a message has a request of its own
        *(f"protocols/stomp/{name}" for name in ("codec", "header_reader", "output", "plain_records", "records")),
        *(f"net/{name}" for name in ("connection", "output_buffer", "turns")),
        *(f"store/{name}" for name in ("entry_codec", "volatile_log", "local/index", "local/journal", "local/log", "local/segment")),
        *(f"store/{name}" for name in ("interface", "local/committer", "local/group", "local/store")),
    )
}
# What runs once, when a module is imported, is a sixth of what is compiled, and in few, long functions: gcc is told to take no trouble over it.
ONCE = '__attribute__((cold,optimize("O0")))'
# Of Python's collector, whose own take two fifths of the time of translating: here it looks once for every two modules or so.
TRANSLATING_GC = (1_000_000, 10, 10)


def hot_modules() -> list[Path]:
    """Sources with a .pxd beside them, the largest first, so that a parallel build ends evenly."""
    found = [pxd.with_suffix(".py").relative_to(ROOT) for pxd in (ROOT / SOURCE).rglob("*.pxd")]
    return sorted((path for path in found if (ROOT / path).exists() and path not in INLINE_ONLY), key=lambda path: (-(ROOT / path).stat().st_size, path))


def optimization(path: Path) -> str:
    """The C compiler's option for a module of hot_modules()."""
    return "-O2" if path in PER_BYTE else "-O1" if path in PER_RECORD else "-Og"


def have_compiler() -> bool:
    """A C compiler, and Python's headers for it."""
    words = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    return shutil.which(words[0]) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def believe_in_self() -> None:
    """Cython checks that `self` is not None wherever nonecheck has it check what else could be: two thirds of all of them, since `self` never is.

    A Cython that does not have these names any more checks as before, and costs more.
    """
    from Cython.Compiler.ExprNodes import NameNode

    may_be_none = getattr(NameNode, "may_be_none", None)
    if may_be_none is None:
        return

    def may_be_none_unless_self(node: NameNode) -> bool:
        assigned = getattr(node.entry, "cf_assignments", ())
        is_self = len(assigned) == 1 and getattr(assigned[0].lhs, "is_self_arg", False)  # and nothing else is assigned to it
        return not is_self and may_be_none(node)

    NameNode.may_be_none = may_be_none_unless_self


def extensions() -> list[Extension]:
    if os.environ.get("ENTREPOT_PURE"):
        return []
    if not have_compiler():
        print("entrepot: no C compiler (or no Python headers) found; installing the interpreted modules (the same source, slower)", file=sys.stderr)
        return []
    from Cython import __version__
    from Cython.Build import cythonize

    believe_in_self()
    translated = Path("build", f"cython-{__version__}")  # another version says other things in common
    shared = Path(translated, *SHARED.split(".")).with_suffix(".c")
    shared.parent.mkdir(parents=True, exist_ok=True)
    if not shared.exists():
        subprocess.run([sys.executable, "-m", "cython", f"--generate-shared={shared}"], check=True)
    cflags = ["-g0", "-w", f"-DCYTHON_SMALL_CODE={ONCE}", *os.environ.get("ENTREPOT_CFLAGS", "").split()]
    lflags = os.environ.get("ENTREPOT_LDFLAGS", "").split()
    modules = hot_modules()
    progress(f"translating {len(modules)} modules to C")
    common = Extension(SHARED, [str(shared)], depends=[__file__], extra_compile_args=["-O1", *cflags], extra_link_args=lflags)
    thresholds = gc.get_threshold()
    gc.set_threshold(*TRANSLATING_GC)
    modules_of_their_own = cythonize(
        [
            Extension(
                ".".join(path.relative_to(SOURCE).with_suffix("").parts),
                [str(path)],
                depends=[__file__],
                extra_compile_args=[optimization(path), *cflags],
                extra_link_args=lflags,
            )
            for path in modules
        ],
        build_dir=str(translated),
        compiler_directives=DIRECTIVES,
        shared_utility_qualified_name=SHARED,
        include_path=[str(SOURCE)],
        nthreads=os.cpu_count() or 1,
        annotate=bool(os.environ.get("ENTREPOT_ANNOTATE")),
    )
    gc.set_threshold(*thresholds)
    return [common, *modules_of_their_own]


def progress(text: str) -> None:
    """Say how far it is, to where ENTREPOT_PROGRESS leads."""
    where = os.environ.get("ENTREPOT_PROGRESS")
    if where:
        with Path(where).open("a") as file:
            file.write(f"{text}\n")


class ParallelBuild(build_ext):
    """Builds extensions side by side on every core."""

    built_count = 0

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count() or 1

    def build_extension(self, ext: Extension) -> None:
        super().build_extension(ext)
        self.built_count += 1
        count = len(self.extensions)
        if self.built_count % 10 == 0 or self.built_count == count:
            progress(f"compiled {self.built_count} of {count}")


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": ParallelBuild})
