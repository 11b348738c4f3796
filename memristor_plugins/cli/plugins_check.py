"""`memristor plugins check`: the conformance kit on installed plugins, as a table."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from memristor_plugins import registry
from memristor_plugins.cli.tables import MARKS, console, count, title
from memristor_plugins.errors import ConfigError, PluginError
from memristor_plugins.registry import Plugin
from memristor_plugins.versioning import PLUGIN_API

if TYPE_CHECKING:
    from memristor_plugins.testing import Result


def check(plugins: list[Plugin], settings: list[str], *, as_json: bool) -> int:
    """Run all checks on plugins; returns 0 where none failed, else 1.

    Args:
        plugins: at least one.
        settings: `PARAMETER=VALUE`, what the class is called with; for a single plugin.
        as_json: print a record for programs.
    """
    parameters = _parameters(settings)
    records, failures = [], 0
    for plugin in plugins:
        results, error = _run(plugin, parameters)
        failed = [r for r in results if r.status == "failed"]
        failures += bool(failed) or error is not None
        if as_json:
            records.append(_record(plugin, results, error))
        else:
            _print(plugin, results, error, alone=len(plugins) == 1)
    if as_json:
        print(json.dumps(records if len(records) != 1 else records[0], indent=2, ensure_ascii=False))
    elif len(plugins) > 1:
        good = len(plugins) - failures
        console().print(f"{count(len(plugins), 'plugin')}: {good} conform, {failures} do not")
    return 1 if failures else 0


def _run(plugin: Plugin, parameters: dict[str, Any]) -> tuple[tuple[Result, ...], str | None]:
    """Results, or why there are none."""
    plugin.load()
    from memristor_plugins.testing import run_checks

    try:
        return run_checks(title(plugin), parameters=parameters), None
    except ConfigError as error:
        raise ConfigError(error.option, f"{error.message}; write memristor plugins check {title(plugin)} "
                          f"{error.option.rpartition('.')[2]}=VALUE") from error  # fmt: skip
    except PluginError as error:
        return (), str(error)


def _parameters(settings: list[str]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    for setting in settings:
        if "=" not in setting:
            raise ConfigError(setting, "is no setting; write PARAMETER=VALUE")
    try:
        found = OmegaConf.to_container(OmegaConf.from_dotlist(settings))
    except Exception as error:  # of the YAML in a value
        raise ConfigError(settings[0], f"cannot be read: {' '.join(str(error).split())}") from error
    assert isinstance(found, dict)
    return {str(k): v for k, v in found.items()}


def _record(plugin: Plugin, results: tuple[Result, ...], error: str | None) -> dict[str, Any]:
    return {
        "plugin": title(plugin),
        "distribution": plugin.distribution,
        "version": plugin.version,
        "conforms": error is None and all(r.status != "failed" for r in results),
        "error": error,
        "checks": [asdict(r) | {"seconds": round(r.seconds, 3)} for r in results],
    }


def _print(plugin: Plugin, results: tuple[Result, ...], error: str | None, *, alone: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    counts = Counter(r.status for r in results)
    good = error is None and not counts["failed"]
    parts = [f"{counts[s]} {s}" for s in ("passed", "failed", "expected", "skipped") if counts[s]]
    seconds = sum(r.seconds for r in results)
    if not alone:
        mark, style = MARKS["passed" if good else "failed"]
        line = Text.assemble((mark, style), " ", (title(plugin), "bold"), (f"  {', '.join(parts) or error}", "dim"))
        out.print(line)
    else:
        out.print(Text.assemble((title(plugin), "bold cyan"), (f"  {plugin.distribution} {plugin.version}", "dim")))
        out.print()
    shown = [r for r in results if alone or r.status == "failed"]
    if shown:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        for r in shown:
            mark, style = MARKS[r.status]
            about = Text(r.about, "dim" if r.status == "passed" else "")
            if r.message:
                about.append(f"\n{r.message}", style if r.status == "failed" else "dim")
            table.add_row(Text(("" if alone else "  ") + mark, style), Text(r.check), about)
        out.print(table)
    if alone:
        out.print()
        verdict = "conforms to" if good else "does not conform to"
        out.print(
            f"{title(plugin)} {verdict} plugin API {PLUGIN_API}: {', '.join(parts)} ({seconds:.1f} s)", markup=False
        )


def chosen(names: list[str], find: Any) -> tuple[list[Plugin], list[str]]:
    """Plugins and settings of a command line: `device/ideal g_max=1e-4`, `nonideality`; nothing: all third-party ones.

    Raises:
        ConfigError: no such plugin or group, settings for more than one, or no third-party plugin is installed.
    """
    settings = [n for n in names if "=" in n]
    plugins: list[Plugin] = []
    for name in (n for n in names if "=" not in n):
        plugins += registry.plugins(name) if name in registry.GROUPS else [find(name)]
    if len(plugins) == len(settings) == 0:
        plugins = [p for p in registry.plugins() if not p.builtin]
        if not plugins:
            print("no plugin of another distribution is installed; name one: memristor plugins check device/ideal")
            sys.stdout.flush()
    if settings and len(plugins) != 1:
        raise ConfigError(settings[0], "settings are for one plugin; write GROUP/NAME before them")
    return plugins, settings
