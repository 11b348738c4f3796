"""What 200 installed third-party plugins cost a composition: `memristor train --cfg job` with them over without.

    python benchmarks/composition.py --json composition.json

Each of the distributions is written as pip would have installed it (metadata, entry points, record, module) and brings
a device, or another group's plugin, and a `conf/` of its own with a preset and an experiment. Processes with and
without them take turns, so that what disturbs one disturbs both; the ratio is that of the fastest of each.
`memristor plugins list` is measured in the same way, and told in seconds.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memristor_plugins.registry import GROUPS

SCRIPT = "import sys; from memristor_plugins.cli.main import main; sys.exit(main())"
BASES = {
    "device": ("memristor_plugins.devices.ideal", "Ideal"),
    "nonideality": ("memristor_plugins.nonidealities.gate_noise", "GateNoise"),
    "mapping": ("memristor_plugins.mappings.differential", "Differential"),
    "kernel": ("memristor_plugins.kernels.static", "Static"),
    "energy": ("memristor_plugins.energy.brain", "Brain"),
}


def install(site: Path, count: int) -> None:
    """Write `count` distributions into a folder on the import path."""
    for index in range(count):
        group = list(GROUPS)[index % len(GROUPS)]
        module, base = BASES[group]
        name, package = f"acme_{index:03d}", f"acme_package_{index:03d}"
        files = {
            f"{package}/__init__.py": "",
            f"{package}/plugin.py": f"from {module} import {base}\n\n\nclass Plugin({base}):\n"
            f'    """Somebody\'s {group}, number {index}. Assumed."""\n\n    requires_api = 1\n',
            f"{package}/conf/__init__.py": "",
            f"{package}/conf/{group}/{name}_preset.yaml": f"defaults:\n  - {name}\n  - _self_\n",
            f"{package}/conf/experiment/{name}.yaml": "# @package _global_\ndefaults:\n  - quickstart\n  - _self_\n",
        }
        info = f"{package}-1.0.dist-info"
        files[f"{info}/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\nSummary: number {index}\n"
            "Requires-Dist: memristor-plugins\n\n" + "A long description.\n" * 100
        )
        files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files[f"{info}/INSTALLER"] = "pip\n"
        files[f"{info}/entry_points.txt"] = (
            f"[{GROUPS[group].entry_points}]\n{name} = {package}.plugin:Plugin\n\n"
            f"[memristor_plugins.conf]\n{package} = {package}.conf\n"
        )
        record = []
        for path, text in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(text.encode())}")
        (site / info / "RECORD").write_text("\n".join([*record, f"{info}/RECORD,,"]) + "\n")


def seconds(arguments: list[str], site: Path | None, folder: str) -> float:
    """Wall time of one command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def listed(site: Path, folder: str) -> int:
    """How many plugins `memristor plugins list` finds with the distributions installed."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", SCRIPT, "plugins", "list", "--json"]
    return len(json.loads(subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True).stdout))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--plugins", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=8)
    arguments = parser.parse_args()
    commands = {"train --cfg job": ["train", "--cfg", "job"], "plugins list": ["plugins", "list"]}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch)
        install(site, arguments.plugins)
        found = listed(site, folder)
        times: dict[str, dict[str, float]] = {name: {} for name in commands}
        for name, command in commands.items():
            for turn in range(arguments.repeats + 1):
                for label, where in (("without", None), ("with", site)):
                    took = seconds(command, where, folder)
                    if turn:  # the first fills caches
                        times[name][label] = min(took, times[name].get(label, took))
    record = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "third_party_plugins": arguments.plugins,
        "plugins_listed": found,
        "repeats": arguments.repeats,
        "seconds": times,
        "ratio": {name: t["with"] / t["without"] for name, t in times.items()},
    }
    print(f"{arguments.plugins} third-party plugins, {found} in all")
    for name, t in times.items():
        print(f"{name:18s} {t['without']:.2f} s without, {t['with']:.2f} s with: {t['with'] / t['without']:.3f} times")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
