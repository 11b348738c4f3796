"""Settings that a fitted device needs before an array can use it: the range of its targets, the pulses of a write.

A loop tells how a cell moves and not how an array should write it, so these are chosen, told as such in the preset,
and open to overrides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memristor_plugins.errors import ConfigError
from memristor_plugins.fitting.subject import Subject

# Pulses tried on transient cells, over the default or the largest measured voltage.
STRENGTHS = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)


def settings(subject: Subject, values: Mapping[str, float], reached: tuple[float, float] | None) -> dict[str, float]:
    """What must be set besides the fitted values, so that the device can be built; {} where nothing must.

    Args:
        subject: the device.
        values: fitted parameters.
        reached: lowest and highest measured voltage of a sweep.

    Raises:
        ConfigError: nothing that was tried helps; says what the device itself says.
    """
    first: ConfigError | None = None
    for tried in _candidates(subject, values, reached):
        # What the user set stands.
        if any(name in subject.given for name in tried):
            continue
        try:
            subject.build({**values, **tried})
        except ConfigError as error:
            first = error if first is None else first
            continue
        return tried
    if first is None:
        first = ConfigError("device", "the settings that were given leave nothing to choose")
    raise ConfigError(first.option, f"the fitted device cannot be an array cell: {first.message}; set it to hold it")


def within(subject: Subject, values: Mapping[str, float]) -> dict[str, float]:
    """A range of targets inside the bounds of a pulsed cell, unless the user set one; {} for other devices."""
    number = {**subject.settings, **values}
    low, high = number.get("lowest"), number.get("highest")
    if {"g_min", "g_max"} & set(subject.given) or not (isinstance(low, float) and isinstance(high, float)):
        return {}
    return {"g_min": low + 0.1 * (high - low), "g_max": high - 0.15 * (high - low)}


def _candidates(
    subject: Subject, values: Mapping[str, float], reached: tuple[float, float] | None
) -> Iterator[dict[str, float]]:
    yield {}
    now = {**subject.settings, **values}
    number = {k: float(v) for k, v in now.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    if subject.name == "adaptive_2d":
        # The default range lies at 1/200 of a complete filament's conductance and up.
        top = number["g_on0"]
        yield {"g_max": top, "g_min": top / 200}
        if number["g_off"] < top / 1.01:
            yield {"g_max": top, "g_min": (number["g_off"] * top) ** 0.5}
    if inside := within(subject, values):
        yield inside
    if {"v_set", "v_reset"} <= set(number):
        reads: list[dict[str, float]] = [{}]
        if {"v_on", "v_off"} <= set(number):
            reads.append({"read_voltage": min(number["v_off"], -number["v_on"]) / 2})
        sizes = [abs(number["v_set"]), abs(number["v_reset"])]
        if reached is not None:
            sizes.append(max(map(abs, reached)))
        for size in sorted(max(sizes) * s for s in STRENGTHS):
            for read in reads:
                yield {
                    "v_set": size if number["v_set"] > 0 else -size,
                    "v_reset": size if number["v_reset"] > 0 else -size,
                    **read,
                }
