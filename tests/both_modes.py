"""The source of a compiled module beside its compiled form, for tests that hold one against the other; and what is tried less often interpreted."""

import importlib
import os
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

SRC = Path(__file__).parents[1] / "src"
PURE = bool(os.environ.get("ENTREPOT_PURE"))  # the second run of the same tests, in which only what differs between the two is new


def examples(count: int) -> int:
    """How many of `count` random examples are tried: all, and a third of them where the sources are interpreted beside the compiled modules."""
    return max(count // 3, 5) if PURE else count


def interpreted(name: str, *beneath: str) -> ModuleType:
    """Module `name` from its source, whatever lies compiled beside it. It sees the modules `beneath` interpreted too, all others as usual."""
    alias = f"interpreted_{name.replace('.', '_')}"
    if alias in sys.modules:
        return sys.modules[alias]
    usual = {other: importlib.import_module(other) for other in beneath}
    below = {other: interpreted(other, *beneath[:position]) for position, other in enumerate(beneath)}
    loader = SourceFileLoader(alias, str(SRC / (name.replace(".", "/") + ".py")))
    spec = spec_from_loader(alias, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[alias] = module
    sys.modules.update(below)
    try:
        loader.exec_module(module)
    finally:
        sys.modules.update(usual)
    return module


def both(name: str, *beneath: str) -> list[ModuleType]:
    """The module as it is installed, and interpreted on the modules `beneath` (lowest first), which it imports."""
    return [importlib.import_module(name), interpreted(name, *beneath)]
