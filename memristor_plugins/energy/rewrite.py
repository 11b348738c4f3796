"""Dynamic kernels by rewriting cells: the alternative to gating stationary banks."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, get_type_hints

from memristor_plugins.energy import components as c
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.interfaces.energy import (
    CostEntry,
    CostReport,
    EnergyEstimator,
    LayerProfile,
    WorkloadProfile,
)
from memristor_plugins.interfaces.parameter import Param


class Rewrite(EnergyEstimator):
    """Dynamic kernels by rewriting: each image's mixed kernel is computed digitally and written into one bank of cells.

    Everything else is the chip of `energy=crossbar`, for a profile with one bank a layer and no gates:

        kernel writes  cells / banks * write_energy (or what the device's pulses took)     joules an image
        kernel mixing  banks * weights * (int8_multiply + int32_add + buffer_byte)

    Seconds: writes take write_time a word line, all arrays and all cells of a line at once; mixing is digital work on
    the layer's lanes. Square metres: the K kernels stand in buffers. Each image costs each cell of a dynamic layer one
    write, so that its endurance is the number of inferences.

    Valid range: static layers cost what they cost on the crossbar. The mixed kernel is taken to dissipate what the mean
    bank did, gains included, which favours rewriting.

    Source: the write energy is that of `energy=crossbar`; write_time is assumed.

    Raises:
        ConfigError: `chip` names what `energy=crossbar` has not.
    """

    def __init__(
        self,
        *,
        write_time: Annotated[
            float, Param("write and verify of the cells of one word line", unit="s", source="assumed", ge=0)
        ] = 1e-6,
        chip: Annotated[
            dict[str, Any] | None,
            Param("what differs from energy=crossbar, or ${energies.crossbar}", source="null: its defaults"),
        ] = None,
    ) -> None:
        self.write_time = write_time
        # `${energies.crossbar}` brings its target along.
        self.chip = _crossbar({name: value for name, value in (chip or {}).items() if not name.startswith("_")})

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Cost of one inference when kernels are rewritten."""
        dynamic = [layer for layer in profile.layers if layer.banks > 1]
        names = {layer.name for layer in dynamic}
        single = tuple(_one_bank(layer) if layer.name in names else layer for layer in profile.layers)
        report = self.chip.estimate(replace(profile, layers=single))
        # The write of every image takes the place of the one programming.
        entries = [e for e in report.entries if e.component != c.PROGRAMMING or e.layer not in names]
        for layer in dynamic:
            entries += self._rewriting(layer)
        writes = sum(layer.cells / layer.banks for layer in dynamic)
        stated = (
            f"{writes:.3g} cells are written an image, {self.write_time * 1e6:g} us a word line (assumed); the mixed "
            "kernel dissipates what the mean bank did",
            *(line for line in report.assumptions if "bank factors" not in line),
        )
        return replace(
            report,
            estimator="rewrite",
            entries=tuple(entries),
            assumptions=stated,
            interval_s=max(e.latency_s for e in entries) or None,
            lifetime_inferences=self.chip.endurance if dynamic else report.lifetime_inferences,
        )

    def _rewriting(self, layer: LayerProfile) -> list[CostEntry]:
        chip, weights = self.chip, float(layer.rows * layer.cols * layer.banks)
        written = layer.cells * chip.write_energy if layer.write_j is None else layer.write_j
        mixing = weights * (chip.int8_multiply + chip.int32_add + chip.buffer_byte)
        lines = min(layer.rows, layer.array_rows)
        return [
            CostEntry(layer.name, c.WRITES, written / layer.banks, lines * self.write_time),
            CostEntry(layer.name, c.MIXING, mixing, weights / chip.digital_rate, weights * chip.buffer_area),
        ]


def _crossbar(given: dict[str, Any]) -> Crossbar:
    """The chip of `energy=crossbar` with what differs, checked as its own parameters are."""
    hints = get_type_hints(Crossbar.__init__, include_extras=True)
    valid = [name for name in hints if name != "return"]
    for name, value in given.items():
        if name not in valid:
            raise ConfigError(
                "energies.rewrite.chip", f"energy=crossbar has no parameter '{name}'; {nearest(name, valid)}"
            )
        complaint = hints[name].__metadata__[0].complaint(value)
        if complaint:
            raise ConfigError(f"energies.rewrite.chip.{name}", complaint)
    return Crossbar(**given)


def _one_bank(layer: LayerProfile) -> LayerProfile:
    """The layer with one kernel that is as its mean bank."""
    banks = layer.banks
    conversions = layer.output_conversions / banks
    return replace(
        layer,
        banks=1,
        arrays=layer.arrays // banks,
        cells=layer.cells // banks,
        macs=layer.macs / banks,
        nonzero_macs=layer.nonzero_macs / banks,
        v2g=layer.v2g / banks,
        pulse_w=layer.pulse_w / banks,
        idle_w=layer.idle_w / banks,
        input_conversions=layer.input_conversions / banks,
        output_conversions=conversions,
        partial_sums=max(0.0, conversions - layer.outputs),
        bank_multiplies=0.0,
        gate_updates=0.0,
        gate_cells=0.0,
        gate_v2=0.0,
        converted_lines=layer.converted_lines // banks,
        adcs=layer.adcs // banks,
        write_j=None if layer.write_j is None else layer.write_j / banks,
    )
