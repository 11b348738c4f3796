"""`memristor plugins`: what is installed, what its parameters are, whether it keeps its promises, and a new one.

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
from memristor_plugins.cli.tables import console, count, title
from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.registry import GROUPS, Plugin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from rich.console import Console

    from memristor_plugins.signature import Parameter

SUBCOMMANDS = ("list", "show", "check", "new", "doctor")
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
# From this width on, sources of parameters have a column of their own.
WIDE = 110


def main(argv: list[str]) -> int:
    """Run `memristor plugins` on arguments; returns the exit code."""
    try:
        if argv and argv[0][:1] != "-" and argv[0] not in SUBCOMMANDS:
            raise ConfigError(argv[0], f"no such command; {nearest(argv[0], SUBCOMMANDS)}")
        args = _parser().parse_args(argv)
        if args.command == "list":
            return _list(args.group, args.json)
        if args.command == "show":
            return _show(args.plugin, args.json)
        if args.command == "check":
            from memristor_plugins.cli.plugins_check import check, chosen

            plugins, settings = chosen(args.plugins, _find)
            return check(plugins, settings, as_json=args.json)
        if args.command == "doctor":
            from memristor_plugins.cli.plugins_doctor import doctor

            return doctor(as_json=args.json)
        from memristor_plugins.cli.plugins_new import new

        return new(args.group, args.name, args.folder, author=args.author)
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
        known = [title(p) for p in registry.plugins()]
        valid = {"show": known, "check": [*GROUPS, *known], "new": ["--group", "--name"]}.get(before[0], [])
        if before[-1] == "--group":
            valid = [*GROUPS]
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
    for name in GROUPS if group is None else [group]:
        table.add_row(Text(name, "bold cyan"), Text(GROUPS[name].about, "italic"))
        for plugin in (p for p in found if p.group == name):
            lines = [Text(plugin.summary)] if plugin.summary else []
            if not plugin.builtin:
                lines.append(Text(f"from {plugin.distribution} {plugin.version}", "dim"))
            if (problem := plugin.problem) is not None:
                lines.append(Text(f"! {problem}", "yellow"))
            elif plugin.rivals:
                lines.append(Text(f"! also claimed by {' and '.join(map(_owner, plugin.rivals))}, in vain", "yellow"))
            table.add_row(Text(f"  {plugin.name}", "green"), Text("\n").join(lines))
        table.add_row()
    out = console()
    out.print(table)
    groups = count(len({plugin.group for plugin in found}), "group")
    distributions = count(len({plugin.distribution for plugin in found}), "distribution")
    refused = sum(plugin.problem is not None for plugin in found)
    wrong = f", {refused} refused (memristor plugins doctor)" if refused else ""
    out.print(
        f"{count(len(found), 'plugin')} in {groups} from {distributions}{wrong}; "
        "memristor plugins show GROUP/NAME tells the parameters",
        markup=False,
    )
    return 0


def _show(name: str, as_json: bool) -> int:
    from memristor_plugins.signature import parameters

    plugin = _find(name)
    target = plugin.load()
    found = parameters(target, plugin.label)
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

    out = console()
    out.print(Text.assemble((title(plugin), "bold cyan"), (f"  {plugin.distribution} {plugin.version}", "dim")))
    out.print(Text(plugin.target, "dim"), soft_wrap=True)
    out.print()
    out.print(Text(_reflowed(doc, out.width)), soft_wrap=True)
    if found:
        out.print()
        _print_parameters(list(found.values()), out)
    out.print()
    many = plugin.package != plugin.group
    choose = f"{plugin.group}=[{plugin.name}]" if many else f"{plugin.group}={plugin.name}"
    settings = f" {plugin.package}.PARAMETER=VALUE" if found else ""
    out.print(f"{count(len(found), 'parameter')}; memristor train {choose}{settings}", markup=False)
    return 0


def _print_parameters(found: list[Parameter], out: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    wide = out.width >= WIDE
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
    out.print(table)


def _find(name: str) -> Plugin:
    group, slash, short = name.partition("/")
    if slash and group in GROUPS and short in registry.names(group):
        return registry.find(group, short)
    titles = [title(p) for p in registry.plugins()]
    same = [title for title in titles if title.endswith(f"/{short if slash else name}")]
    if same:
        advice = f"did you mean '{same[0]}'?"
    else:
        # Within a known group its name would count as likeness.
        advice = nearest(short, registry.names(group)) if slash and group in GROUPS else nearest(name, titles)
    raise ConfigError(name, f"{'no such plugin' if slash else 'write GROUP/NAME'}; {advice}")


def _record(plugin: Plugin) -> dict[str, Any]:
    record = {key: getattr(plugin, key) for key in ("group", "name", "distribution", "version", "summary", "problem")}
    return record | {"also": [_owner(rival) for rival in plugin.rivals]}


def _owner(rival: EntryPoint) -> str:
    return f"{rival.dist.name} {rival.dist.version}" if rival.dist else "unknown"


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
    check = commands.add_parser("check", help="run the conformance kit: does a plugin keep its contract's promises?")
    check.add_argument(
        "plugins", nargs="*", metavar="GROUP/NAME", help="or a GROUP, with PARAMETER=VALUE; none: all but the built-in"
    )
    new = commands.add_parser("new", help="a complete plugin package to start from")
    new.add_argument("--group", required=True, metavar="GROUP", help=f"one of: {', '.join(GROUPS)}")
    new.add_argument("--name", required=True, metavar="NAME", help="of the option, such as ferro_tunnel")
    new.add_argument("--author", default="", metavar="NAME", help="who stands in its pyproject.toml")
    new.add_argument("folder", metavar="DIR", help="where to write it: a new or empty folder")
    doctor = commands.add_parser("doctor", help="duplicates, shadowed names, versions that do not fit, broken imports")
    for command in (listing, show, check, doctor):
        command.add_argument("--json", action="store_true", help="for programs")
    return parser
