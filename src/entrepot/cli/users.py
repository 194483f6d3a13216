"""`entrepot users`: the users in a data directory, while no broker runs on it."""

from __future__ import annotations

from typing import Annotated

import typer

from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded

commands = typer.Typer(help="Users, their passwords and namespaces, in a data directory. The broker must not run.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
Password = Annotated[str, typer.Option("--password", prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for when not given.")]
Namespaces = Annotated[
    list[str] | None, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="May use this namespace; repeatable; all when not given.")
]


@commands.command()
def add(
    name: Name,
    password: Password,
    namespace: Namespaces = None,
    administrator: Annotated[bool, typer.Option("--administrator", help="May change users and namespaces.")] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Add a user. Only verifiers derived from the password are stored."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.add_user(name, password, tuple(namespace or ()), administrator)
    typer.echo(f"{name} added")


@commands.command("list")
def list_users(config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Print every user, with namespaces."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        for user in catalogue.users():
            typer.echo(f"{user.name}\t{', '.join(user.namespaces) or 'all namespaces'}{'	administrator' if user.administrator else ''}")


@commands.command("set-password")
def set_password(name: Name, password: Password, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Give a user another password."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.set_password(name, password)
    typer.echo(f"{name} has a new password")


@commands.command()
def delete(name: Name, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Remove a user; what it made stays."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.delete_user(name)
    typer.echo(f"{name} deleted")
