"""Commands made from a method's Spec: its Config fields become options by themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from noli import options, registry
from noli.cli.shared import Brief
from noli.core.errors import UsageError
from noli.core.method import Spec

VISIBLE = 1  # a method's flags in the short help, which has room for eight options in all
Body = Callable[..., None]


def flag_fields(spec: Spec, body: Body) -> tuple[str, ...]:
    """Return the Config fields that become flags: those the Spec names and the command does not use."""
    taken = set(inspect.signature(body).parameters)
    return tuple(name for name in spec.options if name not in taken)


def command(spec: Spec, body: Body, help_text: str) -> Any:
    """Make the command of a method: flags for the options that all methods of the verb share, and its own.

    `body` has the shared ones and is called as ``body(spec, **options, method_options=dict)``. ``--help``
    shows the method's first flag, ``--help-all`` the others, too.
    """
    signature = inspect.signature(body, eval_str=True)
    shared = [p for name, p in signature.parameters.items() if name not in ("spec", "method_options")]
    own = flag_fields(spec, body)

    def run(**values: Any) -> None:
        picked = {name: values.pop(name) for name in own}
        body(spec, **values, method_options={n: v for n, v in picked.items() if v is not None})

    added = [_parameter(spec, name, hidden=place >= VISIBLE) for place, name in enumerate(own)]
    run.__signature__ = inspect.Signature([*shared, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*shared, *added]}
    return _made(spec.name, run, help_text)


def _made(name: str, function: Callable[..., None], help_text: str) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command(name, cls=Brief, help=help_text)(function)
    return typer.main.get_command(app)


def _parameter(spec: Spec, name: str, *, hidden: bool) -> inspect.Parameter:
    field = spec.config.model_fields[name]
    default = options.show(field.get_default(call_default_factory=True, validated_data={}))
    plain = field.annotation is bool
    flag = "--" + name.replace("_", "-")
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if plain else flag,
        help=f"{options.meaning(spec.config, name).rstrip('.')}. Default: {default}.",
        metavar=None if plain else options.type_name(field.annotation),
        show_default=False,
        rich_help_panel="Method options",
        hidden=hidden,
    )
    kind: Any = (bool if plain else str) | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def method_group(
    family: str,
    body: Body,
    further: Mapping[str, tuple[Body, str]] | None = None,
    bodies: Mapping[str, Body] | None = None,
) -> type[TyperGroup]:
    """Make the group class of a verb whose sub-commands are the methods of a family.

    `further` are commands that are no methods: name -> function and help; `bodies` are instead of `body` for
    methods of another arrow.
    """
    others = dict(further or {})

    class MethodGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*others, *(name.split("/")[1] for name in registry.names(family))]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in others:
                return _made(cmd_name, *others[cmd_name])
            # Listing needs one line per method only; importing them all would cost seconds.
            return _made(cmd_name, lambda: None, registry.entry(f"{family}/{cmd_name}").summary)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args[0] in others:
                return args[0], _made(args[0], *others[args[0]]), args[1:]
            spec = _find(family, args[0])
            line = f"{spec.card.title}. {registry.entry(spec.name).summary}."
            return args[0], command(spec, (bodies or {}).get(spec.arrow, body), line), args[1:]

    return MethodGroup


def _find(family: str, word: str) -> Spec:
    """Return the Spec for `cuda`, `protect/cuda` or a plug-in's `package/name`."""
    spec = registry.get(word if "/" in word else f"{family}/{word}")
    if spec.family != family:
        raise UsageError(
            f"{spec.name} does not belong to this command.",
            where=f"noli {family}",
            why=f"it is of the family {spec.family}",
            fix=f"use `noli {spec.family}`",
        )
    return spec
