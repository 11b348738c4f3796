"""What a workload profile costs beside an evaluation pass, in one run: both on the same images, chip and network.

    python benchmarks/workload.py --json profile.json

VGG16 at full width on images of 32x32, 8-bit converters on 128x128 arrays, float32: an evaluation pass runs the analog
network on the images, a profile runs it and looks at what every word line is given. They take turns, batch by batch.
The ratio of processor times stands beside that of wall times: a busy machine disturbs it less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memristor_plugins.api import analogize, calibrate, compose_stack, program
from memristor_plugins.cli.memory import keep_buffers
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.models.vgg import VGG

CASES = {
    "static, dac and adc": (Static(), ["nonideality=[programming,dac,adc]"]),
    "static, dac, adc and read noise": (Static(), ["nonideality=[programming,read_noise,dac,adc]"]),
    "static, dac, adc, read noise and wires": (Static(), ["nonideality=[programming,read_noise,ir_drop,dac,adc]"]),
    "heterosynaptic K = 4, dac, adc and gate": (Heterosynaptic(), ["nonideality=[programming,gate,dac,adc]"]),
}


@torch.no_grad()
def measured(case: str, width: float, images: int, batch: int) -> dict[str, Any]:
    """Seconds of programming, evaluation and profile, and the ratios."""
    strategy, overrides = CASES[case]
    torch.manual_seed(0)
    digital = VGG(strategy, (3, 32, 32), 10, depth=16, width=width).eval()
    network = analogize(digital, compose_stack(["device=adaptive_2d", *overrides]))
    x = torch.rand(images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    calibrate(network, [x[:batch]])
    start = time.perf_counter()
    program(network, power=True)
    programming = time.perf_counter() - start
    parts: list[Tensor] = list(x.split(batch))
    network(parts[0])
    clocks = (time.process_time, time.perf_counter)
    evaluation, profiling = [0.0, 0.0], [0.0, 0.0]
    for part in parts:
        marks = [[clock() for clock in clocks]]
        network(part)
        marks.append([clock() for clock in clocks])
        profile(network, [part], "random images")
        marks.append([clock() for clock in clocks])
        for k in range(2):
            evaluation[k] += marks[1][k] - marks[0][k]
            profiling[k] += marks[2][k] - marks[1][k]
    return {
        "case": case,
        "images": images,
        "width": width,
        "programming_s": round(programming, 2),
        "evaluation_cpu_s": round(evaluation[0], 2),
        "profile_cpu_s": round(profiling[0], 2),
        "ratio_cpu": round(profiling[0] / evaluation[0], 3),
        "ratio_wall": round(profiling[1] / evaluation[1], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--case", action="append", choices=list(CASES), help="default: all but wires, slow to program")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keep_buffers()
    rows = []
    for case in arguments.case or [c for c in CASES if "wires" not in c]:
        rows.append(measured(case, arguments.width, arguments.images, arguments.batch))
        print(rows[-1], flush=True)
    if arguments.json:
        machine = {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "machine": platform.machine()}
        content = {"torch": torch.__version__, **machine, "network": "VGG16, 32x32 images", "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
