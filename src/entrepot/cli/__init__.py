"""The `entrepot` command: one file a subcommand. Nothing slow is imported before the command that needs it runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit: 0 well, 1 failed, 2 asked wrongly, 74 the store failed."""
    from entrepot.cli.app import app
    from entrepot.model.errors import CorruptData, EntrepotError, OutcomeUnknown, Unavailable
    from entrepot.model.printable import printable

    try:
        app()
    except CorruptData as error:
        print(
            f"entrepot: {printable(str(error))}\nentrepot: `entrepot store verify DIR` shows all damage, `entrepot store quarantine DIR` isolates it",
            file=sys.stderr,
        )
        sys.exit(1)
    except (OutcomeUnknown, Unavailable) as error:
        print(f"entrepot: {printable(str(error))}", file=sys.stderr)
        sys.exit(1)
    except EntrepotError as error:
        print(f"entrepot: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
