"""What a write leaves against what was asked for."""

from __future__ import annotations

import torch

from memristor_plugins.characterize.bench import Bench
from memristor_plugins.characterize.result import Number, Shown, columns
from memristor_plugins.reporting.panels import GREY, Axis, Panel, Series

LEVELS = 16


def figure(bench: Bench) -> Shown:
    """Mean and deviation of cells written to evenly spaced targets."""
    device = bench.device
    count = min(device.levels or LEVELS, 32)
    targets = bench.targets(*(k / (count - 1) for k in range(count)))
    state = device.program(targets, generator=bench.generator("levels"))
    sound = bench.sound(state)
    g, target, span = torch.where(sound, state.g, torch.nan), targets[:, 0], device.g_max - device.g_min
    mean = g.nanmean(1)
    std = ((g - mean[:, None]).square().nansum(1) / (sound.sum(1) - 1).clamp_min(1)).sqrt()
    rms = (g - targets).square().nanmean(1).sqrt()
    bias = (mean - target).abs()
    std, bias = (torch.where(x > 1e-9 * device.g_max, x, 0.0) for x in (std, bias))  # less is rounding
    numbers = {
        "sigma_prog, mean over targets": Number(float(std.mean()), "S"),
        "sigma_prog / g_max": Number(100 * float(std.mean()) / device.g_max, "%"),
        "largest sigma_prog": Number(float(std.max()), "S"),
        "rms error / range": Number(100 * float(rms.square().mean().sqrt()) / span, "%"),
        "largest bias": Number(float(bias.max()), "S"),
    }
    between = (std[1:] + std[:-1]) / 2  # not at a target itself, where an erased cell has none
    if float(between.min()) > 0:
        # Levels that stand 6 sigma apart: the integral of dG / 6 sigma.
        numbers["levels 6 sigma apart"] = Number(1 + float((target.diff() / (6 * between)).sum()) // 1)
    remark = ""
    if not bool(sound.all()):
        share = 100 * float((~sound).double().mean())
        numbers["failed cells"] = Number(share, "%")
        remark = f" Failed cells, {share:.2g} %, are left out."
    table = columns(target_s=[target], mean_s=[mean], deviation_s=[std], rms_error_s=[rms])
    written = ""
    for name, unit, spent in (("pulses", "", state.pulses), ("energy", "J", state.energy_j)):
        if spent is not None:
            numbers[f"{name} of a write, median"] = Number(float(spent.median()), unit)
            table[f"{name}_median{'_' + unit.lower() if unit else ''}"] = spent.median(1).values.double()
            written = " by write-verify, pulse by pulse"
    exact = float(rms.max()) <= 1e-9 * device.g_max
    if exact:
        remark = " This model writes exactly."
    deviations = Panel(
        Axis("target conductance", "S"),
        Axis("deviation", "S", zero=True),
        [
            Series(target, std, "standard deviation", 0, "both"),
            Series(target, bias, "|mean - target|", 3, "both"),
        ],
    )
    return Shown(
        "multilevel states",
        f"{bench.cells} cells written to each of {count} targets{written}; points and bars are their mean and "
        f"standard deviation, the spread between cells and what the write misses included.{remark}",
        [
            Panel(
                Axis("target conductance", "S"),
                Axis("written conductance", "S"),
                [
                    Series(target, target, "target", GREY, "dashed"),
                    Series(target, mean, "mean and std", 0, "points", error=std),
                ],
            ),
            *([] if exact else [deviations]),
        ],
        table,
        numbers,
    )
