"""Periods of a measured sweep, and their average."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.fitting.csv_data import Table

Array = NDArray[np.float64]

# Periods are averaged where there are this many, and where voltages of one phase scatter by less than this part of
# their range: then they are the same stimulus, measured again.
ENOUGH = 3
SAME = 0.05
NEAR = 0.95


@dataclass(frozen=True)
class Sweep:
    """A voltage sweep and what it measured.

    Args:
        time: seconds, [n].
        voltage, current: [n].
        gate: gate volts, [n], or None.
        noise: standard error of each current, where repeats told it.
        period: seconds until the sweep repeats; None: it was measured once.
        averaged: periods behind each point; 1 where there was no averaging.
    """

    time: Array
    voltage: Array
    current: Array
    gate: Array | None = None
    noise: Array | None = None
    period: float | None = None
    averaged: int = 1

    def thinned(self, most: int) -> Sweep:
        """Every so manieth row, so that at most `most` are left; the last one stays where a sweep does not repeat."""
        stride = -(-len(self.time) // most)
        rows = np.arange(0, len(self.time), stride)
        if self.period is None and rows[-1] != len(self.time) - 1:
            rows = np.append(rows[:-1] if len(rows) >= most else rows, len(self.time) - 1)

        def few(values: Array | None) -> Array | None:
            return None if values is None else values[rows]

        return replace(
            self, time=self.time[rows], voltage=self.voltage[rows], current=self.current[rows], gate=few(self.gate),
            noise=few(self.noise),
        )  # fmt: skip


def sweep(table: Table, *, average: bool = True, skip: int = 1) -> Sweep:
    """The sweep of a measured table; its average period where it has several equal ones.

    Args:
        table: of the kind `iv`.
        average: False: take it as it is.
        skip: periods left out of the average, in which the cell may not yet have settled.
    """
    time, voltage, current = table["time"], table["voltage"], table["current"]
    gate = table["gate_voltage"] if "gate_voltage" in table else None  # noqa: SIM401
    single = Sweep(time - time[0], voltage, current, gate)
    length = samples_per_period(time, voltage, gate) if average else None
    if length is None:
        return single
    count = len(time) // length
    used = slice(min(skip, count - ENOUGH) * length if count > ENOUGH else 0, count * length)

    def stacked(values: Array) -> Array:
        return values[used].reshape(-1, length)

    currents = stacked(current)
    step = float(np.mean(np.diff(time)))
    return Sweep(
        step * np.arange(length, dtype=np.float64),
        stacked(voltage).mean(0),
        currents.mean(0),
        None if gate is None else stacked(gate).mean(0),
        currents.std(0, ddof=1) / np.sqrt(len(currents)),
        step * length,
        len(currents),
    )


def samples_per_period(time: Array, voltage: Array, gate: Array | None = None) -> int | None:
    """Samples of one period of the stimulus, or None where it has no three equal ones or its steps are uneven."""
    steps = np.diff(time)
    if float(np.ptp(steps)) > 1e-3 * float(np.mean(steps)):
        return None
    centred = voltage - voltage.mean()
    size = 1 << (2 * len(centred) - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    correlation = np.fft.irfft(power, size)[: len(centred)]
    if correlation[0] <= 0:
        return None
    # By the number of products behind each lag, so that later periods count as much as the first.
    correlation = correlation / correlation[0] * len(centred) / np.arange(len(centred), 0, -1)
    negative = np.flatnonzero(correlation < 0)
    longest = len(centred) // ENOUGH
    if len(negative) == 0 or negative[0] >= longest:
        return None
    # Multiples of the period correlate as well: the first run of lags that come near the best.
    tail = correlation[negative[0] : longest + 1]
    if tail.max() <= 0:
        return None
    near = tail >= NEAR * tail.max()
    begin = int(np.argmax(near))
    end = begin + int(np.argmin(np.append(near[begin:], False)))
    peak = int(negative[0] + begin + np.argmax(tail[begin:end]))
    # A peak is flat and noise moves it; a wrong length by a single sample adds up over the periods.
    about = max(2, peak // 50)
    lengths = range(max(peak - about, 2), min(peak + about, longest) + 1)
    length = min(lengths, key=lambda n: float(_stacked(voltage, n).var(0).mean()))
    for signal in (voltage, gate):
        if signal is None:
            continue
        if float(_stacked(signal, length).std(0).max()) > SAME * float(np.ptp(signal)):
            return None
    return length


def _stacked(signal: Array, length: int) -> Array:
    """[whole periods, length]."""
    return signal[: len(signal) // length * length].reshape(-1, length)
