"""Entry point: the command tree, and how errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

import noli
from noli.cli import catalog, compare, demo, keys, protect, report, verify
from noli.cli.console import show_error
from noli.core.errors import Interrupted, NoliError, UsageError


class InOrder(TyperGroup):
    """Lists the commands in the order in which an owner needs them."""

    ORDER = ("demo", "key", "protect", "verify", "undo", "diff", "report", "list", "explain", "doctor")

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: self.ORDER.index(name) if name in self.ORDER else 99)


app = typer.Typer(
    name="noli",
    cls=InOrder,
    add_completion=False,
    help="Look, don't train: protect data against unauthorised training, and measure how well it holds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 done, but the claim is not supported; 2 usage; 3 something is missing; "
    "4 data problem; 5 the run failed, the same command resumes; 130 interrupted, likewise.",
)
for group in (demo, keys, protect, verify, compare, report, catalog):
    group.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"noli {noli.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Accept the options that come before a command."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        args: Words after ``noli``; those of the process when None.
    """
    words = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in words
    try:
        code = typer.main.get_command(app).main(args=words, prog_name="noli", standalone_mode=False)
    except NoliError as error:
        return _fail(error, as_json)
    except TyperException as error:
        return _fail(_usage(error), as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = Interrupted.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`noli list | head`): nobody is left to tell.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return 0
    except Exception as error:
        return _fail(_unexpected(error), as_json)
    if code == Interrupted.exit_code:
        return _fail(Interrupted("Interrupted.", fix="give the same command again to resume"), as_json)
    return code if isinstance(code, int) else 0


def _fail(error: NoliError, as_json: bool) -> int:
    if os.environ.get("NOLI_DEBUG") == "1":
        raise error
    if error.exit_code == 1:  # 1 belongs to the answer of `verify`: no failure may look like one
        error.exit_code = 5
    show_error(error, as_json=as_json)
    return error.exit_code


def _usage(error: TyperException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "noli"
    if type(error).__name__ == "NoArgsIsHelpError":
        return UsageError("A command is missing.", where=path, fix=f"see `{path} --help`")
    return UsageError(error.format_message(), where=path, fix=f"see `{path} --help`")


def _unexpected(error: Exception) -> NoliError:
    wrapped = NoliError(
        "Something went wrong inside noli.",
        why=f"{type(error).__name__}: {error}",
        fix="set NOLI_DEBUG=1 to see where, and report it with `noli doctor --json`",
    )
    wrapped.__cause__ = error
    return wrapped
