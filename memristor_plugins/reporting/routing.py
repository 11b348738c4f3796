"""The figure of bank coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

from torch import Tensor

from memristor_plugins.reporting.figures import COLOURS, _figure

ACROSS = 4


def routing(path: Path, layers: Sequence[tuple[str, Tensor, Sequence[Tensor], float]], caption: str) -> None:
    """Distribution over images of every bank's coefficient, layer by layer, with the means of the classes.

    Args:
        path: of the PNG.
        layers: name, coefficients [images, banks], each class's mean [banks], and the between-class share of variance.
        caption: what was measured, on what data.
    """
    across, down = min(ACROSS, len(layers)), ceil(len(layers) / ACROSS)
    figure = _figure(max(6.4, 2.4 * across), 0.9 + 2.1 * down)
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for index, axes in enumerate(grid.flat):
        if index >= len(layers):
            axes.set_visible(False)
            continue
        name, coefficients, means, share = layers[index]
        banks = range(coefficients.shape[1])
        axes.boxplot(
            [coefficients[:, bank].tolist() for bank in banks],
            positions=list(banks),
            whis=(5, 95),
            showfliers=False,
            widths=0.6,
            medianprops={"color": COLOURS[0]},
        )
        for bank in banks:
            values = [float(mean[bank]) for mean in means]
            axes.plot([bank] * len(values), values, "_", color=COLOURS[3], markersize=9, markeredgewidth=1.2)
        axes.set_title(f"{name}: {share:.0%} between classes", fontsize=8)
        axes.set_xticks(list(banks))
        if index % across == 0:
            axes.set_ylabel("coefficient")
        if index + across >= len(layers):
            axes.set_xlabel("bank")
    figure.suptitle(f"{caption}\nbox: quartiles, whiskers: 5 to 95 %, orange: mean of each class", fontsize=9)
    figure.savefig(path)
