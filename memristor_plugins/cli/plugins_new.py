"""`memristor plugins new`: a complete plugin package from the template that is shipped with this one."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from memristor_plugins import __version__, registry
from memristor_plugins.cli.tables import console
from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.registry import GROUPS
from memristor_plugins.versioning import PLUGIN_API

TEMPLATE = Path(__file__).parents[1] / "template"


def new(group: str, name: str, folder: str, *, author: str) -> int:
    """Render a package into a folder, and say what to do with it; returns the exit code.

    Args:
        group: such as `device`.
        name: of the option.
        folder: where to write, new or empty.
        author: who stands in its metadata; may be empty.

    Raises:
        ConfigError: no such group, a name that cannot be one or is taken, or a folder with files in it.
        MemristorError: the template's renderer is not installed.
    """
    if group not in GROUPS:
        raise ConfigError("--group", f"no such group '{group}'; {nearest(group, GROUPS)}")
    if keyword.iskeyword(name):
        raise ConfigError("--name", f"'{name}' is a word of Python's own; take another name, such as {name}_cell")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789") or "my_plugin"
        raise ConfigError("--name", f"'{name}' must be small letters, digits and single underscores, such as {better}")
    if name in registry.names(group):
        owner = registry.find(group, name).distribution
        raise ConfigError("--name", f"{group}={name} is a plugin of {owner} already; take another name")
    if '"' in author or "\n" in author:
        raise ConfigError("--author", "must be one line without quotation marks")
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(folder, "exists and is not an empty folder; name a new one")
    try:
        from copier import run_copy
    except ImportError as error:
        raise MemristorError("memristor plugins new needs copier: pip install 'memristor-plugins[sdk]'") from error
    answers = {
        "group": group,
        "name": name,
        "author": author,
        "plugin_api": PLUGIN_API,
        "version": ".".join(__version__.split(".")[:2]),
        "entry_points": GROUPS[group].entry_points,
    }
    run_copy(str(TEMPLATE), str(target), data=answers, defaults=True, quiet=True)
    out = console()
    article = "an" if group[0] in "aeiou" else "a"
    out.print(f"wrote {article} {group} plugin to {target}; then:", soft_wrap=True, markup=False)
    for command in (
        f"pip install -e '{target}[test]'",
        f"memristor plugins check {group}/{name}",
        f"memristor train experiment={name} trainer.fast_dev_run=true",
        f"pytest {target}",
    ):
        out.print(f"  {command}", soft_wrap=True, markup=False)
    return 0
