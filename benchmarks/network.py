"""VGG16 on simulated chips beside the digital network: what each share of ten chips costs, and the peak memory.

    python benchmarks/network.py --json network.json
    python benchmarks/network.py --wires --compile      # solve one chip's arrays as well; compile what can be

Full-width VGG16 (its weights at their start: no cost depends on them), 32x32 images, evaluation in batches, float32.
Chips have programming errors, read noise, drift, and 8-bit DACs and ADCs on 128-row arrays; `--wires` solves one chip's
arrays exactly as well. Each part runs in a process of its own, so that its peak memory is its own. `--chips` of them
are programmed and read one after another, as `memristor evaluate` does; `ten chips` is ten times their mean.

`--cpu-time` counts processor seconds of all threads instead of the clock's: on a machine that others use as well, with
`OMP_WAIT_POLICY=passive`, so that a thread that waits is not counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from memristor_plugins.api import analogize, calibrate, compose_stack, program
from memristor_plugins.cli.memory import keep_buffers
from memristor_plugins.kernels.static import Static
from memristor_plugins.models.vgg import VGG

CLOCK = time.process_time if "--cpu-time" in sys.argv else time.perf_counter
EFFECTS = "programming,read_noise,drift,dac,adc"


def timed(passes: int, network: torch.nn.Module, images: Tensor, batch: int, low: bool = False) -> float:
    """Fastest of `passes` evaluations of all images, in seconds."""
    best = float("inf")
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=low):
        for _ in range(passes):
            start = CLOCK()
            for part in images.split(batch):
                network(part)
            if images.is_cuda:
                torch.cuda.synchronize()
            best = min(best, CLOCK() - start)
    return best


def part(name: str, given: argparse.Namespace) -> dict[str, float]:
    """Measure one part: `digital`, `chip` or `wires`."""
    device, images, batch = given.device, given.images, given.batch
    warnings.simplefilter("ignore")
    keep_buffers()
    torch.manual_seed(0)
    x = torch.randn(images, 3, 32, 32, device=device)
    network = VGG(Static(), (3, 32, 32), 10, depth=16).to(device).eval()
    figures: dict[str, float] = {}
    if name == "digital":
        figures["pass_s"] = timed(3, network, x, batch)
    else:
        effects = EFFECTS + (",ir_drop" if name == "wires" else "")
        network = analogize(
            network, compose_stack(["device=adaptive_2d", f"nonideality=[{effects}]"]), compile=given.compile
        )
        if name == "wires":
            start = CLOCK()
            program(network, 0, 1.0, progress=shown)
            figures["program_s"] = CLOCK() - start
        else:
            calibrate(network, [x[:batch]])
            program(network, 0, 1.0)
            timed(1, network, x[: 2 * batch], batch, given.bf16)  # compiles, and fills caches
            program_s, pass_s = [], []
            for chip in range(1, given.chips + 1):
                start = CLOCK()
                program(network, chip, 1.0)
                program_s.append(CLOCK() - start)
                pass_s.append(timed(1, network, x, batch, given.bf16))
            figures["program_s"], figures["pass_s"] = mean(program_s), mean(pass_s)
            start = CLOCK()
            program(network, given.chips, 86400.0)
            figures["age_s"] = CLOCK() - start
    figures["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if device == "cuda":
        figures["peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return figures


def shown(done: int, layers: int) -> None:
    """Progress of programming and solving, on the terminal."""
    print(f"\r{done} of {layers} layers programmed and solved", end="\n" if done == layers else "", file=sys.stderr)


def main() -> None:
    """Measure every part in its own process and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--chips", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="compile what the engine can")
    parser.add_argument("--bf16", action="store_true", help="products of chips in bf16, as chip_precision=bfloat16")
    parser.add_argument("--cpu-time", action="store_true", help="processor seconds of all threads")
    parser.add_argument("--wires", action="store_true", help="solve the arrays of one chip, wires included")
    parser.add_argument("--part", choices=["digital", "chip", "wires"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(part(given.part, given)))
        return
    options = [f"--{key}={getattr(given, key)}" for key in ("device", "images", "batch", "chips")]
    options += ["--compile"] * given.compile + ["--cpu-time"] * given.cpu_time + ["--bf16"] * given.bf16
    found: dict[str, dict[str, float]] = {}
    for name in ["digital", "chip"] + ["wires"] * given.wires:
        command = [sys.executable, __file__, "--part", name, *options]
        found[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(name, {key: round(value, 3) for key, value in found[name].items()})
    digital, chip = found["digital"], found["chip"]
    ratios = {
        "read, one chip": chip["pass_s"] / digital["pass_s"],
        "programming, one chip": chip["program_s"] / digital["pass_s"],
        "ten chips": 10 * (chip["pass_s"] + chip["program_s"]) / digital["pass_s"],
        "peak memory": chip["peak_gb"] / digital["peak_gb"],
    }
    if given.wires:
        ratios["solving, one chip"] = (found["wires"]["program_s"] - chip["program_s"]) / digital["pass_s"]
    for name, ratio in ratios.items():
        print(f"{name:24s}{ratio:8.2f}x")
    if given.json:
        where = torch.cuda.get_device_name() if given.device == "cuda" else platform.processor() or "CPU"
        head = {"device": where, "threads": torch.get_num_threads(), "torch": torch.__version__}
        sizes = {"images": given.images, "batch": given.batch, "effects": EFFECTS}
        sizes |= {"clock": "processor time of all threads" if given.cpu_time else "wall"}
        sizes |= {"chips": given.chips, "compiled": given.compile, "bf16": given.bf16}
        given.json.write_text(json.dumps(head | sizes | {"parts": found, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
