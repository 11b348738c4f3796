"""Composition of configs without a command line, and what went wrong with one in a single line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from memristor_plugins import registry
from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.hydra_integration import register
from memristor_plugins.signature import mismatch, parameters

CONF = "pkg://memristor_plugins.conf"
VERSION_BASE = "1.3"
# Errors that Hydra raises for what a user wrote; some of its own checks are plain ValueErrors.
USER_ERRORS = (MemristorError, HydraException, OmegaConfBaseException)


def compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config `config_name` under overrides, as `memristor ...` on a command line would compose it.

    Works while a Hydra job runs, too.

    Raises:
        MemristorError: an override that does not fit; names the option and the nearest valid ones.
    """
    loader = config_loader()
    try:
        config = loader.load_configuration(config_name, list(overrides), run_mode=RunMode.RUN)
    except (*USER_ERRORS, ValueError) as error:
        raise explain(error, loader, config_name, overrides) from error
    with open_dict(config):
        del config["hydra"]
    return config


def config_loader(config_dir: str | None = None) -> ConfigLoaderImpl:
    """A loader of this package's configs, of plugins and of what lies in `config_dir`."""
    register()
    if not hasattr(version.getbase(), "major"):  # else a running Hydra application has chosen
        version.setbase(VERSION_BASE)
    path = create_config_search_path(CONF)
    if config_dir is not None and os.path.isdir(config_dir):
        folder = f"file://{os.path.abspath(config_dir)}"
        path.prepend(provider="command-line", path=folder, anchor=SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(config_search_path=path)


def explain(
    error: BaseException, loader: ConfigLoaderImpl, config_name: str, overrides: Sequence[str]
) -> MemristorError:
    """A composition's error in a user's words: the option, what was wrong, and the nearest valid one.

    Args:
        error: what Hydra or OmegaConf raised.
        loader: what composed.
        config_name: the primary config.
        overrides: what was composed; needed where the error does not say which of them it means.
    """
    chain = list(_causes(error))
    for link in chain:
        if isinstance(link, MemristorError):
            return link
        if isinstance(link, MissingConfigException) and link.missing_cfg_file:
            return _missing(link.missing_cfg_file, str(link), loader, overrides)
        if isinstance(link, OverrideParseException):
            return _unreadable(link)
        if isinstance(link, OmegaConfBaseException) and link.full_key:
            return _refused(link, str(error), loader)
    return _named(str(error), loader, config_name, overrides)


def short(message: str) -> str:
    """A message of Hydra or OmegaConf in one line, without its advice and its lists of paths."""
    cut = re.split(r"\s+(?:full_key:|Config search path:|Search path:|See https://|To append to|1\. To use)", message)
    line = " ".join(cut[0].split())
    return line if len(line) <= 240 else line[:239] + "…"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _missing(path: str, message: str, loader: ConfigLoaderImpl, overrides: Sequence[str]) -> ConfigError:
    group, _, name = path.removesuffix(".yaml").rpartition("/")
    valid = [option for option in loader.get_group_options(group) if not option.startswith("_")]
    if not group:
        return ConfigError("--config-name", f"no config '{name}'; {nearest(name, valid)}")
    # A preset may ask for what is not installed; then the command line does not show where the name stands.
    inside = re.match(r"In '([^']+/[^']+)'", message)
    where = f" (asked for by {inside[1]})" if inside and not any(name in o for o in overrides) else ""
    return ConfigError(f"{group}={name}", f"no such {group}{where}; {nearest(name, valid)}")


def _unreadable(error: OverrideParseException) -> ConfigError:
    if "=" not in error.override and not error.override.startswith("~"):
        return ConfigError(error.override, "is no override; write NAME=VALUE")
    key = error.override.partition("=")[0].lstrip("+~")
    return ConfigError(key, f"cannot read '{error.override}'; quote the value, or close its brackets")


def _refused(error: OmegaConfBaseException, message: str, loader: ConfigLoaderImpl) -> ConfigError:
    option = str(error.full_key)
    plugin = _plugin(error.parent_node)
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        typed = re.search(r"Could not override '([^']+)'", message)
        groups = [] if "." in option else loader.list_groups("")
        return ConfigError(typed[1] if typed else option, _unknown(option, error.parent_node, plugin, groups))
    if plugin and hasattr(error, "value"):
        known = parameters(plugin.load(), plugin.target).get(option.rpartition(".")[2])
        if known and (complaint := mismatch(error.value, known.type)):
            return ConfigError(option, complaint)
    return ConfigError(option, short(str(error)))


def _unknown(option: str, node: object, plugin: registry.Plugin | None, groups: Sequence[str]) -> str:
    """What to do about a key that its node does not have: select its plugin, or correct it."""
    parent, _, key = option.rpartition(".")
    for group in registry.GROUPS.values():
        many = group.package.removesuffix(".{name}")
        if group.package != many == parent and key in registry.names(group.name):
            return f"'{key}' is not selected; select it with {group.name}=[...,{key}]"
        if not parent and key == group.name:
            if group.package == many:
                return f"no {key} is selected; choose {key}=NAME"
            return f"no such option; the settings of {key}=[NAME] are {many}.NAME"
    valid = {str(k) for k in node} if isinstance(node, DictConfig) else set()
    valid = (valid | set(groups)) - {"_target_", "_convert_", "hydra"}
    of = f" of {plugin.group}={plugin.name}" if plugin else ""
    return f"no such option{of}; {nearest(key, valid)}"


def _plugin(node: object) -> registry.Plugin | None:
    target = OmegaConf.select(node, "_target_") if isinstance(node, DictConfig) else None
    return next((p for p in registry.plugins() if p.dotted == target), None)


def _named(message: str, loader: ConfigLoaderImpl, config_name: str, overrides: Sequence[str]) -> MemristorError:
    """An error that tells no key: the override it is about is the one that fails in the same way alone."""
    for override in overrides:
        try:
            loader.load_configuration(config_name, [override], run_mode=RunMode.RUN)
        except Exception as error:
            if str(error) == message:
                return _alone(override, message, loader)
    return MemristorError(short(message))


def _alone(override: str, message: str, loader: ConfigLoaderImpl) -> ConfigError:
    key, _, value = override.lstrip("+~").partition("=")
    if not key:
        return ConfigError(override, "is no override; write NAME=VALUE")
    if message.startswith("Ambiguous value"):
        return ConfigError(key, f"to sweep over {value} add -m; a list is written {key}=[{value}]")
    single = key in registry.GROUPS and "{name}" not in registry.GROUPS[key].package
    if message.startswith("Config group override must be") or (single and "not a subclass of" in message):
        options = ", ".join(loader.get_group_options(key.partition("@")[0]))
        return ConfigError(key, f"must be one of {options}, got {value}")
    return ConfigError(key, short(message))
