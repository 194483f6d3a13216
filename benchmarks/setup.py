"""Compiles the load generator in place: every module of benchmarks/ with a .pxd beside it.

    python benchmarks/setup.py build_ext

Run from anywhere; the generator does it by itself when a module is missing or older than its source.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent.parent
INLINE_ONLY = {"kernel"}  # its .pxd is inlined into its users
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": True,
    "wraparound": False,
    "initializedcheck": True,
    "nonecheck": True,
    "annotation_typing": False,
    "cdivision": True,  # the few divisions are by constants and by what was checked
}

if __name__ == "__main__":
    os.chdir(ROOT)
    sources = [pxd.with_suffix(".py") for pxd in sorted(Path("benchmarks").rglob("*.pxd")) if pxd.stem not in INLINE_ONLY]
    setup(
        name="entrepot-benchmarks",
        packages=[],
        ext_modules=cythonize(
            [Extension(".".join(source.with_suffix("").parts), [str(source)], extra_compile_args=["-O2", "-g1"]) for source in sources],
            build_dir="build/benchmarks",
            compiler_directives=DIRECTIVES,
            include_path=["src", "."],
            nthreads=os.cpu_count() or 1,
        ),
        options={"build_ext": {"parallel": os.cpu_count() or 1, "build_lib": ".", "build_temp": "build/benchmarks/objects"}},
    )
