"""The workload of one inference, measured by running real images through the analog network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import ceil

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, running, set_mode
from memristor_plugins.crossbar.dissipation import read_power, row_sums, source_power
from memristor_plugins.crossbar.layer import AnalogLayer, Reading
from memristor_plugins.crossbar.layout import arrays_across
from memristor_plugins.interfaces.energy import LayerProfile, PowerOf, Replay, WorkloadProfile
from memristor_plugins.interfaces.nonideality import Site

POOLING = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)

# Images of a batch, or twice as many, whose codes are looked at bit by bit.
SAMPLED = 4


@dataclass
class _Sums:
    """Sums over the profiled images of one layer."""

    images: int = 0
    positions: int = 0
    power: float = 0.0
    pulses: float = 0.0
    idle: float = 0.0
    ones: float = 0.0
    sampled: int = 0
    drives: float = 0.0
    nonzero: float = 0.0
    factors: float = 0.0
    bank_factors: float = 0.0
    steps: float = 0.0
    step_count: int = 0
    input_values: int = 0
    solved: bool = False
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
        layer.observer = _observer(sums[layer.name], layer)
    network.eval()
    images, first = 0, None
    try:
        with running(network, "analog"):
            for batch in batches:
                network(batch)
                images += len(batch)
                first = batch if first is None else first
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
        normalisation_ops=digital.normalisation / images,
        pooling_ops=digital.pooling / images,
        replay=None if first is None else _replay(network, first),
    )


def _observer(sums: _Sums, layer: AnalogLayer) -> Callable[[AnalogLayer, Reading], None]:
    """Adds up what a layer reads, with what its sources see of resistive wires if it tells."""
    admittance = None
    if layer.stack.has(Site.WIRES) and layer.programmed is not None:
        admittance = layer.programmed.columns.readout.admittance
        if admittance is None:
            admittance = layer.read_out(layer.programmed.chip, layer.seconds, power=True).admittance
    sums.solved = admittance is not None
    return lambda layer, reading: _observe(sums, layer, reading, admittance)


def _observe(sums: _Sums, layer: AnalogLayer, reading: Reading, admittance: Tensor | None) -> None:
    readout, geometry = reading.readout, layer.geometry
    row_g = readout.row_g
    assert row_g is not None, "only a training step does without"
    x = reading.x if reading.x.dtype == torch.float64 else reading.x.float()
    batch = x.shape[0]
    height, width = geometry.output_size(x.shape[2], x.shape[3])
    full, volts = layer.ranges.full_scale_input(x), layer.stack.device.read_voltage
    driven, unit = _driven(layer, x), volts / full
    squares = row_sums(geometry, _total([v.square() for v in driven])) * unit**2
    gains = None if reading.bank.gains is None else reading.bank.gains.double()

    def weighed(power: Tensor) -> float:
        return float((power if gains is None else power * gains).sum())

    current = layer.stack.at(Site.CURRENT)
    if admittance is not None:
        at_once = layer.stack.rows_per_read
        power = source_power(geometry, driven, admittance, layer.stack.mapping.rows, at_once) * unit**2
    elif current is None:
        power = read_power(squares.unsqueeze(0), row_g)
    else:
        context = layer.stack.context(layer.seconds)
        terms = _total([v * unit * current.inputs(v * unit, context) for v in driven])
        power = read_power(torch.stack([row_sums(geometry, term) for term in terms]), row_g)
    sums.power += weighed(power)
    # Pulses of the read voltage: each line by itself, which bounds what lines draw that share wires.
    alone = row_g.sum(dim=0)
    if admittance is not None:
        alone = admittance.diagonal(dim1=-2, dim2=-1).flatten(3)[..., : geometry.rows]
    low, high = layer.ranges.known("input").tolist()
    positive = layer.stack.has(Site.INPUT) and low == 0 < high  # unsigned codes
    pulses = row_sums(geometry, _total([v if positive else v.abs() for v in driven])) * (unit * volts)
    sums.pulses += weighed(read_power(pulses.unsqueeze(0), alone.unsqueeze(0)))
    idle = _idle_power(layer, row_g, height * width * len(driven))
    sums.idle += weighed(idle.expand(batch, -1, -1))
    if reading.bank.gains is not None:
        _observe_gate(sums, layer, reading.bank.gains.sum(dim=-1))
    sums.drives += float(squares.sum())
    sums.nonzero += float(row_sums(geometry, x != 0).sum()) * geometry.cols
    sample = x[:: max(1, batch // SAMPLED)]
    sums.ones += _ones(layer, sample, full)
    sums.sampled += len(sample)
    outputs = height * width * layer.arrangement.own.out_channels
    factors, mixing = layer.arrangement.multiplies(reading.modulation, reading.pixels, height * width)
    sums.factors += batch * factors
    sums.bank_factors += batch * mixing
    shared = reading.bank.shared
    if shared is not None and layer.gated:
        # One digital scale of the image is applied to the sum over banks; otherwise every bank has its own.
        sums.factors += outputs * int(shared.sum())
        sums.bank_factors += outputs * layer.banks * int((~shared).sum())
    elif shared is not None and layer.banks > 1:
        sums.bank_factors += outputs * layer.banks * batch
    sums.images += batch
    sums.positions = height * width
    sums.input_values = x[0].numel()


def _driven(layer: AnalogLayer, x: Tensor) -> list[Tensor]:
    """All that is driven one after another, in input units."""
    inputs = layer.stack.at(Site.INPUT)
    if inputs is None or inputs.slice_bits is None:
        return [x]
    slices, _ = inputs.slices(x, replace(layer.stack.context(), full_scale=layer.ranges.known("input")))
    return list(slices)


def _total(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)


def _idle_power(layer: AnalogLayer, row_g: Tensor, reads: int) -> Tensor:
    """Watts that `reads` reads of each selection leak through word lines of its array that are not selected.

    They are held at `bias` times the read voltage. [banks, nodes], for one image.
    """
    leak, stack = layer.stack.at(Site.LEAK), layer.stack
    rows = row_g.sum(dim=0)
    if leak is None or stack.rows_per_read >= stack.mapping.rows:
        return rows.new_zeros(rows.shape[:2])
    volts, bias = stack.device.read_voltage, float(getattr(leak, "bias", 1.0))
    selections = torch.zeros(rows.shape[-1], dtype=rows.dtype, device=rows.device)
    for first in range(0, rows.shape[-1], stack.mapping.rows):
        held = min(stack.mapping.rows, rows.shape[-1] - first)
        selections[first : first + held] = ceil(held / stack.rows_per_read) - 1
    leaked = leak.apply(rows, None, stack.context(layer.seconds)) * selections
    power: Tensor = leaked.sum(dim=(-1, -2)) * volts**2 * bias * reads
    return power


def _ones(layer: AnalogLayer, x: Tensor, full: float) -> float:
    """Bits that are one in the codes of all inputs; of the magnitude where inputs have a sign."""
    inputs = layer.stack.at(Site.INPUT)
    bits = None if inputs is None else inputs.bits_used()
    if bits is None:
        return 0.0
    signed = bool((layer.ranges.known("input") < 0).any())
    codes = (x.abs() * ((2 ** (bits - signed) - 1) / full)).round_().to(torch.int32)
    found = torch.bincount(codes.flatten()).tolist()
    return float(sum(count * code.bit_count() for code, count in enumerate(found)))


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
    own = layer.arrangement.own
    row_tiles, outputs = layer.plan.row_tiles, sums.positions * own.out_channels
    weights = geometry.rows * geometry.out_channels
    lines, slices = mapping.lines(geometry.cols), layer.plan.slices
    macs = float(sums.positions * weights * banks)
    mixed = own.rows * own.out_channels  # weights of the kernel that an image sees
    kernels = layer.kernel.banks if layer.kernel is not None else 1
    aggregated = float(sums.positions * mixed + kernels * mixed) if macs > sums.positions * mixed else macs
    converting = 1 if layer.shared else banks
    conversions = float(sums.positions * geometry.groups * lines * mapping.groups * converting * row_tiles * slices)
    factored = sums.bank_factors / sums.images
    converters = {site: layer.stack.at(site) for site in (Site.INPUT, Site.SUM, Site.GATE)}
    inputs = converters[Site.INPUT]
    share: int = getattr(converters[Site.SUM], "share", 1)
    arrays = mapping.utilisation(geometry.rows, geometry.cols).arrays * banks * geometry.groups
    converted = geometry.groups * converting * ceil(geometry.rows / mapping.rows) * mapping.groups
    turns = ceil(min(geometry.rows, mapping.rows) / layer.stack.rows_per_read)
    drives = sums.images * sums.positions * geometry.groups * geometry.rows
    energy = None if layer.chip is None else layer.chip.state.energy_j
    bits_in = None if inputs is None else inputs.bits_used()
    bits = {site: None if effect is None else effect.bits_used() for site, effect in converters.items()}
    return LayerProfile(
        name=layer.name,
        rows=geometry.rows,
        cols=geometry.out_channels,
        banks=banks,
        planes=mapping.planes,
        row_tiles=row_tiles,
        arrays=arrays,
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
        # A bank factor applied digitally brings its own addition over banks.
        partial_sums=conversions - outputs - factored * (banks - 1) / banks,
        bank_multiplies=factored,
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
        groups=geometry.groups,
        array_rows=mapping.rows,
        array_columns=mapping.columns,
        reads=float(sums.positions * slices * turns),
        converted_lines=converted * lines,
        adcs=converted * ceil(lines / share),
        adc_share=share,
        factor_multiplies=sums.factors / sums.images,
        drive_v2=sums.drives / (drives * slices),
        pulse_w=sums.pulses / sums.images,
        idle_w=sums.idle / sums.images,
        read_voltage=layer.stack.device.read_voltage,
        bit_activity=sums.ones / (sums.sampled * sums.input_values * bits_in) if bits_in else None,
        power_of=_power_of(layer, sums),
        write_j=None if energy is None else float(energy.double().sum()),
    )


def _power_of(layer: AnalogLayer, sums: _Sums) -> PowerOf:
    """What the profiled power is the power of."""
    if not layer.stack.has(Site.WIRES):
        return "cells"
    if not sums.solved:
        return "seen"
    return "ohmic sources" if layer.stack.has(Site.CURRENT) else "sources"


def _replay(network: nn.Module, images: Tensor) -> Replay:
    """How an estimator that measures runs the digital network on these images, repeated to fill a batch."""

    def prepare(device: str, batch: int, precision: str) -> Callable[[], None]:
        layers = list(analog_layers(network).values())
        chips = [layer.programmed for layer in layers]
        for layer in layers:  # chips are large, and no part of the digital network
            layer.programmed = None
        try:
            copy = deepcopy(network)
        finally:
            for layer, chip in zip(layers, chips, strict=True):
                layer.programmed = chip
        set_mode(copy.to(device).eval(), "digital")
        x = images.repeat(ceil(batch / len(images)), *[1] * (images.dim() - 1))[:batch].to(device)
        low = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
        place = torch.device(device)

        def run() -> None:
            with torch.no_grad(), torch.autocast(place.type, dtype=low, enabled=low is not None):
                copy(x)
            if place.type == "cuda":
                torch.cuda.synchronize(place)

        return run

    return prepare


class _DigitalOperations:
    """Counts operations of what stays digital: one for each value a layer looks at, two for a normalisation."""

    def __init__(self, network: nn.Module) -> None:
        self.operations = self.normalisation = self.pooling = 0.0
        inside = {m for layer in analog_layers(network).values() for m in layer.modules()}
        leaves = [m for m in network.modules() if m not in inside and not any(m.children())]
        self.handles = [m.register_forward_hook(self._count) for m in leaves]

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Identity | nn.Dropout | nn.Flatten):
            return
        values = inputs[0].numel()
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            self.normalisation += 2 * values
            self.operations += values
        elif isinstance(module, POOLING):
            self.pooling += values
        self.operations += values

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
