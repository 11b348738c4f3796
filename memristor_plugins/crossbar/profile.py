"""The workload of one inference, measured by running real images through the analog network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, running
from memristor_plugins.crossbar.layer import AnalogLayer, Reading
from memristor_plugins.crossbar.layout import arrays_across
from memristor_plugins.interfaces.energy import LayerProfile, WorkloadProfile
from memristor_plugins.interfaces.nonideality import Site


@dataclass
class _Sums:
    """Sums over the profiled images of one layer."""

    images: int = 0
    positions: int = 0
    power: float = 0.0
    nonzero: float = 0.0
    steps: float = 0.0
    step_count: int = 0
    input_values: int = 0
    largest: float = 0.0
    last_voltage: Tensor | None = field(default=None, repr=False)


@torch.no_grad()
def profile(network: nn.Module, batches: Iterable[Tensor], data: str) -> WorkloadProfile:
    """Measure what every layer does.

    Args:
        network: converted, calibrated and programmed.
        batches: real images [batch, channels, height, width].
        data: what the images are.
    """
    layers = analog_layers(network)
    sums = {name: _Sums() for name in layers}
    digital = _DigitalOperations(network)
    for layer in layers.values():
        layer.observer = lambda layer, reading: _observe(sums[layer.name], layer, reading)
    network.eval()
    images = 0
    try:
        with running(network, "analog"):
            for batch in batches:
                network(batch)
                images += len(batch)
    finally:
        digital.remove()
        for layer in layers.values():
            layer.observer = None
    device = next(iter(layers.values())).stack.device
    return WorkloadProfile(
        tuple(_layer_profile(layer, sums[name]) for name, layer in layers.items()),
        digital_ops=digital.operations / images,
        read_time=device.read_time,
        images=images,
        data=data,
        device=type(device).__name__,
    )


def _observe(sums: _Sums, layer: AnalogLayer, reading: Reading) -> None:
    x, readout, geometry = reading.x.float(), reading.readout, layer.geometry
    batch = x.shape[0]
    height, width = geometry.output_size(x.shape[2], x.shape[3])
    full = layer.ranges.full_scale_input(x)
    volts_per_unit = layer.stack.device.read_voltage / full
    # Sum over pixels of v^2 G of each bank and node: a convolution of x^2 with each row's conductance.
    banks, nodes = readout.row_g.shape[:2]
    rows = geometry.row_kernel(readout.row_g)
    power = geometry.convolve(_squares(layer, x), rows).double().sum(dim=(2, 3))
    power = power.view(batch, geometry.groups, banks, nodes).sum(dim=1) * volts_per_unit**2
    if reading.gains is not None:
        power = power * reading.gains.double()
        _observe_gate(sums, layer, reading.gains.sum(dim=-1))
    sums.power += float(power.sum())
    ones = torch.ones(geometry.groups, geometry.in_channels // geometry.groups, *geometry.kernel_size, device=x.device)
    sums.nonzero += float(geometry.convolve((x != 0).float(), ones).double().sum()) * geometry.cols
    sums.images += batch
    sums.positions = height * width
    sums.input_values = x[0].numel()


def _squares(layer: AnalogLayer, x: Tensor) -> Tensor:
    """Sum of the squares of all that is driven one after another."""
    inputs = layer.stack.at(Site.INPUT)
    if inputs is None or inputs.slice_bits is None:
        return x.square()
    slices, _ = inputs.slices(x, replace(layer.stack.context(), full_scale=layer.ranges.known("input")))
    return slices.square().sum(dim=0)


def _observe_gate(sums: _Sums, layer: AnalogLayer, gains: Tensor) -> None:
    """Mean square step of the gate voltages from one image to the next, in the order they came."""
    voltage = layer.stack.device.gate_voltage(gains.double())
    if sums.last_voltage is not None:
        voltage = torch.cat((sums.last_voltage, voltage))
    step = voltage.diff(dim=0)
    sums.steps += float(step.square().sum())
    sums.step_count += step.numel()
    sums.last_voltage = voltage[-1:]


def _layer_profile(layer: AnalogLayer, sums: _Sums) -> LayerProfile:
    geometry, mapping, banks = layer.geometry, layer.stack.mapping, layer.banks
    row_tiles, outputs = layer.plan.row_tiles, sums.positions * geometry.out_channels
    weights = geometry.rows * geometry.out_channels
    lines, slices = mapping.lines(geometry.cols), layer.plan.slices
    macs = float(sums.positions * weights * banks)
    aggregated = float(sums.positions * weights + banks * weights) if banks > 1 else macs
    conversions = float(sums.positions * geometry.groups * lines * mapping.groups * banks * row_tiles * slices)
    digital_factors = banks > 1 and not layer.gated
    converters = {site: layer.stack.at(site) for site in (Site.INPUT, Site.SUM, Site.GATE)}
    inputs = converters[Site.INPUT]
    bits = {site: None if effect is None else effect.bits_used() for site, effect in converters.items()}
    return LayerProfile(
        name=layer.name,
        rows=geometry.rows,
        cols=geometry.out_channels,
        banks=banks,
        planes=mapping.planes,
        row_tiles=row_tiles,
        arrays=mapping.utilisation(geometry.rows, geometry.cols).arrays * banks * geometry.groups,
        cells=weights * mapping.planes * banks,
        positions=sums.positions,
        macs=macs,
        digital_macs=min(macs, aggregated),
        routing_macs=float(layer.kernel.routing_macs()) if layer.kernel is not None else 0.0,
        nonzero_macs=sums.nonzero * banks / sums.images,
        v2g=sums.power / sums.images,
        input_conversions=float(
            sums.positions * geometry.rows * geometry.groups * arrays_across(mapping, lines) * banks * slices
        ),
        output_conversions=conversions,
        # A factor applied digitally brings its own addition over banks.
        partial_sums=conversions - outputs * (banks if digital_factors else 1),
        bank_multiplies=float(outputs * banks) if digital_factors else 0.0,
        gate_updates=float(banks) if layer.gated else 0.0,
        gate_cells=float(weights * mapping.planes * banks) if layer.gated else 0.0,
        gate_v2=sums.steps / sums.step_count if sums.step_count else 0.0,
        outputs=float(outputs),
        input_bits=inputs.slice_bits if inputs is not None and inputs.slice_bits else bits[Site.INPUT],
        output_bits=bits[Site.SUM],
        gate_bits=bits[Site.GATE],
        weight_bytes=4.0 * weights * banks,
        input_bytes=4.0 * sums.input_values,
        output_bytes=4.0 * outputs,
    )


class _DigitalOperations:
    """Counts operations of what stays digital: one for each value a layer looks at, two for a normalisation."""

    def __init__(self, network: nn.Module) -> None:
        self.operations = 0.0
        inside = {m for layer in analog_layers(network).values() for m in layer.modules()}
        leaves = [m for m in network.modules() if m not in inside and not any(m.children())]
        self.handles = [m.register_forward_hook(self._count) for m in leaves]

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Identity | nn.Dropout | nn.Flatten):
            return
        normalisation = isinstance(module, nn.modules.batchnorm._BatchNorm)
        self.operations += inputs[0].numel() * (2 if normalisation else 1)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
