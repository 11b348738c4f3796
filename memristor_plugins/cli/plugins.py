"""`memristor plugins`: what is installed, and what each plugin's parameters are.

Listing reads metadata and source alone: no plugin is imported, and no torch.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from memristor_plugins import registry
from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.registry import GROUPS, Plugin

if TYPE_CHECKING:
    from rich.console import Console

    from memristor_plugins.signature import Parameter

OWN = "memristor-plugins"
SUBCOMMANDS = ("list", "show")
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
# From this width on, sources of parameters have a column of their own.
WIDE = 110


def main(argv: list[str]) -> int:
    """Run `memristor plugins` on arguments; returns the exit code."""
    try:
        if argv and argv[0][:1] != "-" and argv[0] not in SUBCOMMANDS:
            raise ConfigError(argv[0], f"no such command; {nearest(argv[0], SUBCOMMANDS)}")
        args = _parser().parse_args(argv)
        return _list(args.group, args.json) if args.command == "list" else _show(args.plugin, args.json)
    except MemristorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def complete(words: list[str]) -> list[str]:
    """What may stand for the last of the words after `memristor plugins`."""
    *before, word = words
    if not before:
        valid = [*SUBCOMMANDS]
    elif before == ["list"]:
        valid = [*GROUPS]
    else:
        valid = [_title(p) for p in registry.plugins()] if before == ["show"] else []
    return [name for name in valid if name.startswith(word)]


def _list(group: str | None, as_json: bool) -> int:
    if group is not None and group not in GROUPS:
        raise ConfigError(group, f"no such group; {nearest(group, GROUPS)}")
    found = list(registry.plugins(group))
    if as_json:
        print(json.dumps([_record(plugin) for plugin in found], indent=2, ensure_ascii=False))
        return 0
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, style="dim")
    for name in GROUPS if group is None else [group]:
        table.add_row(Text(name, "bold cyan"), Text(GROUPS[name].about, "italic"))
        for plugin in (p for p in found if p.group == name):
            origin = "built-in" if plugin.distribution == OWN else f"{plugin.distribution} {plugin.version}"
            table.add_row(Text(f"  {plugin.name}", "green"), Text(plugin.summary), Text(origin))
        table.add_row()
    console = _console()
    console.print(table)
    groups = _count(len({plugin.group for plugin in found}), "group")
    distributions = _count(len({plugin.distribution for plugin in found}), "distribution")
    console.print(
        f"{_count(len(found), 'plugin')} in {groups} from {distributions}; "
        "memristor plugins show GROUP/NAME tells the parameters"
    )
    return 0


def _show(name: str, as_json: bool) -> int:
    from memristor_plugins.signature import parameters

    plugin = _find(name)
    target = plugin.load()
    found = parameters(target, f"{plugin.group}={plugin.name} ({plugin.target})")
    doc = inspect.cleandoc(target.__doc__ or "")
    if as_json:
        record = _record(plugin) | {
            "target": plugin.target,
            "doc": doc,
            "package": plugin.package,
            "parameters": [_parameter(p) for p in found.values()],
        }
        print(json.dumps(record, indent=2, ensure_ascii=False, default=str))
        return 0
    from rich.text import Text

    console = _console()
    console.print(Text.assemble((_title(plugin), "bold cyan"), (f"  {plugin.distribution} {plugin.version}", "dim")))
    console.print(Text(plugin.target, "dim"), soft_wrap=True)
    console.print()
    console.print(Text(_reflowed(doc, console.width)), soft_wrap=True)
    if found:
        console.print()
        _print_parameters(list(found.values()), console)
    console.print()
    many = plugin.package != plugin.group
    choose = f"{plugin.group}=[{plugin.name}]" if many else f"{plugin.group}={plugin.name}"
    settings = f" {plugin.package}.PARAMETER=VALUE" if found else ""
    console.print(f"{_count(len(found), 'parameter')}; memristor train {choose}{settings}", markup=False)
    return 0


def _print_parameters(found: list[Parameter], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    wide = console.width >= WIDE
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("parameter", no_wrap=True, style="green")
    table.add_column("default", no_wrap=True)
    table.add_column("values")
    table.add_column("meaning", ratio=3)
    if wide:
        table.add_column("source", ratio=2, style="dim")
    for p in found:
        unit = f" {p.info.unit}" if p.info.unit else ""
        values = " ".join(filter(None, [p.type_name, _range(p)]))
        meaning = Text(p.info.about)
        if not wide and p.info.source:
            meaning.append(f"\n{p.info.source}", "dim")
        row = [
            Text(p.name),
            Text("required" if _required(p) else _number(p.default) + unit),
            Text(values),
            meaning,
        ]
        table.add_row(*row, *([Text(p.info.source)] if wide else []))
    console.print(table)


def _find(name: str) -> Plugin:
    group, slash, short = name.partition("/")
    if slash and group in GROUPS and short in registry.names(group):
        return registry.find(group, short)
    titles = [_title(p) for p in registry.plugins()]
    same = [title for title in titles if title.endswith(f"/{short if slash else name}")]
    if same:
        advice = f"did you mean '{same[0]}'?"
    else:
        # Within a known group its name would count as likeness.
        advice = nearest(short, registry.names(group)) if slash and group in GROUPS else nearest(name, titles)
    raise ConfigError(name, f"{'no such plugin' if slash else 'write GROUP/NAME'}; {advice}")


def _record(plugin: Plugin) -> dict[str, Any]:
    return {key: getattr(plugin, key) for key in ("group", "name", "distribution", "version", "summary")}


def _parameter(p: Parameter) -> dict[str, Any]:
    bounds = {name: value for name, value in asdict(p.info).items() if name in BOUNDS and value is not None}
    return {
        "name": p.name,
        "type": p.type_name,
        "unit": p.info.unit,
        "required": _required(p),
        "default": None if _required(p) else p.default,
        "range": bounds,
        "source": p.info.source,
        "about": p.info.about,
    }


def _required(p: Parameter) -> bool:
    return p.default is inspect.Parameter.empty


def _range(p: Parameter) -> str:
    bounds = ((sign, getattr(p.info, name)) for name, sign in BOUNDS.items())
    return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def _number(value: Any) -> str:
    """A default as a command line writes it, in the fewest digits that say it."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _reflowed(doc: str, width: int) -> str:
    """A docstring for a terminal: paragraphs are filled, indented lines (formulas) stay lines."""
    blocks: list[tuple[int, str]] = []
    for line in doc.splitlines():
        indent = len(line) - len(line.lstrip())
        # Plain text goes on, and so does an item whose next line is indented further.
        if line and blocks and blocks[-1][1] and (indent == blocks[-1][0] == 0 or indent > blocks[-1][0] > 0):
            blocks[-1] = (blocks[-1][0], f"{blocks[-1][1]} {line.strip()}")
        else:
            blocks.append((indent, line.strip()))
    return "\n".join(
        textwrap.fill(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent)
        for indent, text in blocks
    )


def _title(plugin: Plugin) -> str:
    return f"{plugin.group}/{plugin.name}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


class _Parser(argparse.ArgumentParser):
    """Argparse with complaints of one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(self.prog, message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="memristor plugins", description="What is installed, and what its parameters are.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="all plugins with their summaries; imports none of them")
    listing.add_argument("group", nargs="?", metavar="GROUP", help=f"only one of: {', '.join(GROUPS)}")
    show = commands.add_parser("show", help="one plugin: what it computes, its parameters, units and sources")
    show.add_argument("plugin", metavar="GROUP/NAME", help="such as device/ideal")
    for command in (listing, show):
        command.add_argument("--json", action="store_true", help="for programs")
    return parser
