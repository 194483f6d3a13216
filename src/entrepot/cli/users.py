"""`entrepot users`: the users of a broker, whether it runs or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from entrepot.cli.listings import Json, Prefix
from entrepot.cli.printing import print_json
from entrepot.cli.reach import kept
from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded
from entrepot.model.printable import printable

users = typer.Typer(help="Users, their passwords and namespaces, whether the broker runs or not.", no_args_is_help=True)
commands = typer.Typer()
commands.add_typer(users, name="users")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
Password = Annotated[str | None, typer.Option("--password", metavar="TEXT", help="Others on this machine can read it: better leave it out, and be asked.")]
PasswordFile = Annotated[str | None, typer.Option("--password-file", metavar="FILE", help="Its first line is the password; - for standard input.")]
Namespaces = Annotated[
    list[str] | None, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="May use this namespace; repeatable; all when not given.")
]


@users.command()
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
    from entrepot.admin.requests import AddUser

    text = _password(password, password_file)
    with kept(loaded(config, data, settings).config, may_make=True) as broker:
        broker.change(AddUser(name, text, tuple(namespace or ()), administrator))
    typer.echo(f"{name} added")


@users.command("list")
def list_users(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="Who may use this namespace.")] = None,
    prefix: Prefix = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Print every user, with namespaces: those it may use, and those it is forbidden."""
    from entrepot.admin.requests import ListUsers, UserRow

    with kept(loaded(config, data, settings).config) as broker:
        users = sorted(broker.rows(ListUsers(namespace, prefix), UserRow), key=lambda user: user.name)
    if as_json:
        print_json({"users": users})
        return
    for user in users:
        open_to = [permission.namespace for permission in user.permissions]
        namespaces = "all namespaces" if "*" in open_to else ", ".join(open_to) or "no namespaces"
        forbidden = f" but {', '.join(user.forbidden)}" if user.forbidden else ""
        notes = "".join(f"\t{note}" for note, holds in (("administrator", user.administrator), ("by the configuration", user.configured)) if holds)
        typer.echo(f"{printable(user.name)}\t{printable(namespaces + forbidden)}{notes}")


@users.command("set-password")
def set_password(
    name: Name,
    password: Password = None,
    password_file: PasswordFile = None,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Give a user another password."""
    from entrepot.admin.requests import SetPassword

    text = _password(password, password_file)
    with kept(loaded(config, data, settings).config) as broker:
        broker.change(SetPassword(name, text))
    typer.echo(f"{name} has a new password")


@users.command()
def delete(name: Name, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Remove a user; what it made stays."""
    from entrepot.admin.requests import DeleteUser

    with kept(loaded(config, data, settings).config) as broker:
        broker.change(DeleteUser(name))
    typer.echo(f"{name} deleted")


@users.command()
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
    from entrepot.admin.requests import Permit
    from entrepot.broker.users.permission_pattern import half_anchored_text, is_half_anchored

    with kept(loaded(config, data, settings).config) as broker:
        broker.change(Permit(name, namespace, configure, write, read))
    for pattern in dict.fromkeys((configure, write, read)):
        if is_half_anchored(pattern):
            typer.echo(f"entrepot: {half_anchored_text(pattern)}", err=True)
    typer.echo(f"{name} in {namespace}: configure {configure!r}, write {write!r}, read {read!r}")


@users.command()
def forbid(
    name: Name,
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="Where; * for every namespace not listed.")],
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Forbid a user a namespace, also where it may use all others; `users permit` opens it again."""
    from entrepot.admin.requests import Forbid

    with kept(loaded(config, data, settings).config) as broker:
        broker.change(Forbid(name, namespace))
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
users.add_typer(keys, name="keys")

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="The access key's id.")]


@keys.command("add")
def add_key(name: Name, as_json: Json = False, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Make an access key for a user and print its id and secret."""
    from entrepot.admin.requests import AddKey

    with kept(loaded(config, data, settings).config) as broker:
        made = broker.change(AddKey(name))
    if as_json:
        print_json(made)
        return
    typer.echo(f"{made.id}\t{made.secret}")


@keys.command("list")
def list_keys(
    name: Name,
    secrets: Annotated[bool, typer.Option("--secrets", help="Print the secrets too.")] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Print the ids of a user's access keys."""
    from entrepot.admin.requests import KeyRow, ListKeys

    with kept(loaded(config, data, settings).config) as broker:
        rows = broker.rows(ListKeys(name, secrets), KeyRow)
    if as_json:
        print_json({"keys": rows})
        return
    for row in rows:
        typer.echo(f"{row.id}\t{row.secret}" if secrets else row.id)


@keys.command("delete")
def delete_key(key_id: KeyId, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Remove an access key: it signs nothing more."""
    from entrepot.admin.requests import DeleteKey

    with kept(loaded(config, data, settings).config) as broker:
        broker.change(DeleteKey(key_id))
    typer.echo(f"{key_id} deleted")
