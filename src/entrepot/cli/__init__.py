"""The `entrepot` command: one file a subcommand."""
