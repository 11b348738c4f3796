"""The workload of one inference, measured by running real images through the analog network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, running, set_mode
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.layer import AnalogLayer, Reading
from memristor_plugins.crossbar.layout import arrays_across
from memristor_plugins.interfaces.energy import LayerProfile, Replay, WorkloadProfile
from memristor_plugins.interfaces.nonideality import Site

POOLING = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)


@dataclass
class _Sums:
    """Sums over the profiled images of one layer."""

    images: int = 0
    positions: int = 0
    power: float = 0.0
    drives: float = 0.0
    nonzero: float = 0.0
    factors: float = 0.0
    bank_factors: float = 0.0
    steps: float = 0.0
    step_count: int = 0
    input_values: int = 0
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


def _observe(sums: _Sums, layer: AnalogLayer, reading: Reading) -> None:
    x, readout, geometry = reading.x.float(), reading.readout, layer.geometry
    batch = x.shape[0]
    height, width = geometry.output_size(x.shape[2], x.shape[3])
    full = layer.ranges.full_scale_input(x)
    volts_per_unit = layer.stack.device.read_voltage / full
    v2 = row_sums(geometry, _squares(layer, x)) * volts_per_unit**2
    power = read_power(v2, readout.row_g)
    if reading.bank.gains is not None:
        power = power * reading.bank.gains.double()
        _observe_gate(sums, layer, reading.bank.gains.sum(dim=-1))
    sums.power += float(power.sum())
    sums.drives += float(v2.sum())
    sums.nonzero += float(row_sums(geometry, x != 0).sum()) * geometry.cols
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


def row_sums(geometry: Geometry, values: Tensor) -> Tensor:
    """Sums over all reads of what each word line is given: [batch, channels, h, w] -> [batch, groups, rows], float64.

    Of the squared voltages these are the diagonal of the rows' second moments.
    """
    height, width = geometry.output_size(values.shape[2], values.shape[3])
    (up, left), (down, right) = geometry.padding, geometry.stride
    values = F.pad(values.double(), (left, left, up, up))
    places = []
    for u in range(geometry.kernel_size[0]):
        first = u * geometry.dilation[0]
        lines = values[:, :, first : first + down * (height - 1) + 1 : down].sum(dim=2)
        for w in range(geometry.kernel_size[1]):
            first = w * geometry.dilation[1]
            places.append(lines[:, :, first : first + right * (width - 1) + 1 : right].sum(dim=2))
    sums = torch.stack(places, dim=1).view(len(values), len(places), geometry.groups, -1)
    return sums.transpose(1, 2).flatten(2)


def read_power(v2: Tensor, row_g: Tensor) -> Tensor:
    """Watts in ohmic cells: sum over word lines of their v^2, [batch, groups, rows], times the G of their cells.

    `row_g` [banks, nodes, groups, rows]; returns [batch, banks, nodes], float64, all reads added up. Without wires this
    is what the sources deliver. With wires the power is a quadratic form of the rows' voltages; this is then the part
    of it that the converters see.
    """
    return torch.einsum("bgr,kngr->bkn", v2, row_g.double())


def _squares(layer: AnalogLayer, x: Tensor) -> Tensor:
    """Sum of the squares of all that is driven one after another."""
    inputs = layer.stack.at(Site.INPUT)
    if inputs is None or inputs.slice_bits is None:
        return x.double().square()
    slices, _ = inputs.slices(x, replace(layer.stack.context(), full_scale=layer.ranges.known("input")))
    return slices.double().square().sum(dim=0)


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
        write_j=None if energy is None else float(energy.double().sum()),
    )


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
