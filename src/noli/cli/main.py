"""Entry point: the command tree, and how errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

import noli
from noli.cli import attack, catalog, check, data, demo, detect, keys, lock, mark, protect, t2ue, verify
from noli.cli.console import show_error
from noli.cli.shared import Brief
from noli.core.errors import Interrupted, NoliError, UsageError

# In the order in which an owner needs them.
COMMANDS: dict[str, Callable[..., None] | typer.Typer] = {
    "demo": demo.demo,
    "key": keys.GROUP,
    "protect": protect.GROUP,
    "t2ue": t2ue.GROUP,
    "verify": verify.verify,
    "attack": attack.attack,
    "mark": mark.GROUP,
    "detect": detect.detect,
    "check": check.check,
    "lock": lock.GROUP,
    "undo": data.undo,
    "diff": data.diff,
    "report": data.report,
    "list": catalog.list_methods,
    "explain": catalog.explain,
    "doctor": catalog.doctor,
}


class InOrder(TyperGroup):
    """Typer would list groups before commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)


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
for name, command in COMMANDS.items():
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name, cls=Brief)(command)


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
    for name in ("stdout", "stderr"):  # closed by the caller: nobody listens
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    try:
        code = typer.main.get_command(app).main(args=words, prog_name="noli", standalone_mode=False)
        if code != Interrupted.exit_code:
            return code if isinstance(code, int) else 0
        error = _typed(KeyboardInterrupt())
    except BrokenPipeError:
        # The reader of our output went away (`noli list | head`): nobody is left to tell.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return 0
    except (Exception, KeyboardInterrupt) as problem:
        if type(problem).__name__ == "NoArgsIsHelpError":  # the help was printed: it says what is missing
            return UsageError.exit_code
        error = _typed(problem)
    if os.environ.get("NOLI_DEBUG") == "1":
        raise error
    show_error(error, as_json="--json" in words)
    return error.exit_code


def _typed(problem: BaseException) -> NoliError:
    """Return whatever was raised as an error that says what to do."""
    if isinstance(problem, NoliError):
        return problem
    if isinstance(problem, KeyboardInterrupt | typer.Abort):
        return Interrupted("Interrupted.", fix="give the same command again to resume")
    if isinstance(problem, TyperException):
        context = getattr(problem, "ctx", None)
        path = context.command_path if context is not None else "noli"
        return UsageError(problem.format_message(), where=path, fix=f"see `{path} --help`")
    error = NoliError(
        "Something went wrong inside noli.",
        why=f"{type(problem).__name__}: {problem}",
        fix="set NOLI_DEBUG=1 to see where, and report it with `noli doctor --json`",
    )
    error.__cause__ = problem
    return error
