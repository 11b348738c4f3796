"""The console script `memristor`. Imports nothing of a command before it is asked for."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from memristor_plugins import __version__
from memristor_plugins.errors import nearest

COMMANDS = {
    "train": "train a network, run it on simulated chips, and count what an inference costs",
    "evaluate": "run a trained network on other chips, at other times, on another stack",
    "energy": "what an inference costs: energy, latency, area, and what they depend on",
    "characterize": "the figures that a device paper shows, of any device",
    "fit": "a device's parameters from measurements of it, as a preset",
    "reproduce": "the published tables from their configs, resumable",
    "plugins": "list, show, check and repair plugins, or start a new one",
}
USAGE = f"""\
usage: memristor COMMAND [ARGUMENTS]

Dynamic convolutional networks on simulated memristor crossbars, composed from plugins.

commands:
{chr(10).join(f"  {name:<14}{about}" for name, about in COMMANDS.items())}

options:
  --help    this text; `memristor COMMAND --help` for a command's own
  --version
  -sc install=bash|zsh|fish    a script for the shell to evaluate: completion by the tab key

examples:
  memristor train experiment=quickstart
  memristor train model=vgg11 device=adaptive_2d nonideality=[dac,adc] nonidealities.adc.bits=6
  memristor train -m kernel=static,dynamic,heterosynaptic
  memristor energy model=vgg11 energy=[crossbar,gpu_roofline,brain]
  memristor plugins show device/adaptive_2d
"""
COMPLETION = ("-sc", "--shell-completion")


def main(argv: list[str] | None = None) -> int:
    """Run a command line; returns the exit code, 2 where the line itself is wrong."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        with plain_warnings():
            code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output (`| head`) has seen enough; nothing may be flushed into the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Within the block a warning to users is printed as one line, without the code that gave it."""
    before = warnings.formatwarning

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning:
            return f"warning: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _dispatch(arguments: list[str]) -> int:
    if any(flag in arguments for flag in COMPLETION):
        return _complete(arguments)
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(USAGE, end="")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command == "--version":
        print(f"memristor-plugins {__version__}")
        return 0
    if command == "train":
        from memristor_plugins.cli.train import main as train

        return train(rest)
    if command == "evaluate":
        from memristor_plugins.cli.evaluate import main as evaluate

        return evaluate(rest)
    if command == "energy":
        from memristor_plugins.cli.energy import main as energy

        return energy(rest)
    if command == "characterize":
        from memristor_plugins.cli.characterize import main as characterize

        return characterize(rest)
    if command == "fit":
        from memristor_plugins.cli.fit import main as fit

        return fit(rest)
    if command == "reproduce":
        from memristor_plugins.cli.reproduce import main as reproduce

        return reproduce(rest)
    if command == "plugins":
        from memristor_plugins.cli.plugins import main as plugins

        return plugins(rest)
    if "=" in command:
        advice = f"an override stands after a command: memristor train {command}"
    else:
        advice = nearest(command, COMMANDS)
    print(f"error: {command}: no such command; {advice}", file=sys.stderr)
    return 2


def _complete(arguments: list[str]) -> int:
    """Answer a shell's question what may follow, or print the script that makes it ask (`install=bash`)."""
    line = os.environ.get("COMP_LINE", "")
    # The word under completion is the last, empty after a space.
    words = [*line.split(), *([""] if line[-1:].isspace() else [])]
    flags = [a for a in arguments if a not in COMMANDS]
    if not any(a.startswith("query=") for a in arguments):
        command, words = "train", []
    elif len(words) < 3:
        print(" ".join(name for name in COMMANDS if name.startswith(words[-1] if len(words) == 2 else "")))
        return 0
    else:
        command = words[1]
    if command == "plugins":
        from memristor_plugins.cli.plugins import complete as complete_plugins

        print(" ".join(complete_plugins(words[2:])))
        return 0
    if command == "characterize":
        from memristor_plugins.cli.characterize import complete as complete_characterize

        print(" ".join(complete_characterize(words[2:])))
        return 0
    if command == "fit":
        from memristor_plugins.cli.fit import complete as complete_fit

        print(" ".join(complete_fit(words[2:])))
        return 0
    if command == "reproduce":
        from memristor_plugins.cli.reproduce import complete as complete_reproduce

        print(" ".join(complete_reproduce(words[2:])))
        return 0
    if command not in COMMANDS:
        return 0
    from memristor_plugins.cli.hydra_run import complete

    # Hydra knows applications without commands.
    os.environ["COMP_LINE"] = " ".join([*words[:1], *words[2:]])
    return complete(command, flags)
