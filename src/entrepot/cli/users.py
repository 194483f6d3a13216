"""`entrepot users`: the users in a data directory, while no broker runs on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded
from entrepot.model.printable import printable

commands = typer.Typer(help="Users, their passwords and namespaces, in a data directory. The broker must not run.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
Password = Annotated[str | None, typer.Option("--password", metavar="TEXT", help="Others on this machine can read it: better leave it out, and be asked.")]
PasswordFile = Annotated[str | None, typer.Option("--password-file", metavar="FILE", help="Its first line is the password; - for standard input.")]
Namespaces = Annotated[
    list[str] | None, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="May use this namespace; repeatable; all when not given.")
]


@commands.command()
def add(
    name: Name,
    password: Password = None,
    password_file: PasswordFile = None,
    namespace: Namespaces = None,
    administrator: Annotated[bool, typer.Option("--administrator", help="May change users and namespaces.")] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Add a user. Only verifiers derived from the password are stored."""
    from entrepot.server import offline

    text = _password(password, password_file)
    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.add_user(name, text, tuple(namespace or ()), administrator)
    typer.echo(f"{name} added")


@commands.command("list")
def list_users(config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Print every user, with namespaces: those it may use, and those it is forbidden."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        for user in catalogue.users():
            namespaces = ", ".join(user.namespaces) or ("all namespaces" if "*" in user.permissions else "no namespaces")
            forbidden = f" but {', '.join(user.forbidden)}" if user.forbidden else ""
            notes = "".join(f"\t{note}" for note, holds in (("administrator", user.administrator), ("by the configuration", user.configured)) if holds)
            typer.echo(f"{printable(user.name)}\t{printable(namespaces + forbidden)}{notes}")


@commands.command("set-password")
def set_password(
    name: Name,
    password: Password = None,
    password_file: PasswordFile = None,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Give a user another password."""
    from entrepot.server import offline

    text = _password(password, password_file)
    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.set_password(name, text)
    typer.echo(f"{name} has a new password")


@commands.command()
def delete(name: Name, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Remove a user; what it made stays."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.delete_user(name)
    typer.echo(f"{name} deleted")


@commands.command()
def permit(
    name: Name,
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="Where; * for every namespace not listed.")] = "*",
    configure: Annotated[str, typer.Option(metavar="REGEX", help="What it may declare and delete.")] = ".*",
    write: Annotated[str, typer.Option(metavar="REGEX", help="What it may publish to.")] = ".*",
    read: Annotated[str, typer.Option(metavar="REGEX", help="What it may consume from.")] = ".*",
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Say what a user may do in a namespace: regular expressions of whole names; an empty one permits nothing."""
    from entrepot.broker.users import Permission
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.set_permission(name, namespace, Permission(configure, write, read))
    typer.echo(f"{name} in {namespace}: configure {configure!r}, write {write!r}, read {read!r}")


@commands.command()
def forbid(
    name: Name,
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="Where; * for every namespace not listed.")],
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Forbid a user a namespace, also where it may use all others; `users permit` opens it again."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.clear_permission(name, namespace)
    typer.echo(f"{name} may not use {'namespaces that are not listed' if namespace == '*' else namespace}")


def _password(given: str | None, file: str | None) -> str:
    """From where it was said to be; asked for twice where it was not."""
    if given is not None and file is not None:
        raise typer.BadParameter("give --password or --password-file, not both")
    if given is not None:
        typer.echo("entrepot: a password on the command line can be read by others on this machine, and stays in the shell's history", err=True)
        return given
    if file is None:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file}: {error}", param_hint="--password-file") from None
    return text.partition("\n")[0].removesuffix("\r")


keys = typer.Typer(help="Access keys, which sign requests for a user.", no_args_is_help=True)
commands.add_typer(keys, name="keys")

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="The access key's id.")]


@keys.command("add")
def add_key(name: Name, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Make an access key for a user and print its id and secret."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        access_key, secret = catalogue.add_access_key(name)
    typer.echo(f"{access_key.id}\t{secret}")


@keys.command("list")
def list_keys(
    name: Name,
    secrets: Annotated[bool, typer.Option("--secrets", help="Print the secrets too.")] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Print the ids of a user's access keys."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        for access_key in catalogue.access_keys(name):
            typer.echo(f"{access_key.id}\t{catalogue.secret_of(access_key.id)}" if secrets else access_key.id)


@keys.command("delete")
def delete_key(key_id: KeyId, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Remove an access key: it signs nothing more."""
    from entrepot.server import offline

    with offline(loaded(config, data, settings).config) as catalogue:
        catalogue.delete_access_key(key_id)
    typer.echo(f"{key_id} deleted")
