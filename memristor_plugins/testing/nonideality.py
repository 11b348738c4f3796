"""Checks of a non-ideality."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from memristor_plugins.errors import MemristorError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.nonideality import Context, Moment, NonIdeality, Site
from memristor_plugins.testing._core import CheckSkipped, Subject, check, expect
from memristor_plugins.testing._effects import CELLS, SAMPLED, bench, conductances, neutral, sampled_shape
from memristor_plugins.testing._samples import (
    SIGMAS,
    copied,
    deviation_interval,
    numbers,
    same,
    seeded,
    small,
    stack_for,
    train_one_batch,
)

# Where an effect that is static may still draw: programming and one evaluation's fluctuation are drawn once.
MAY_DRAW = (Site.WRITE, Site.FLUCTUATION)
INPUT_PATH = (Site.INPUT, Site.SUM)


@check("nonideality")
def site_and_traits(subject: Subject) -> None:
    """Site and traits are of their kind, and agree with each other"""
    effect: NonIdeality = subject.instance
    expect(isinstance(getattr(effect, "site", None), Site), "site must be a member of memristor_plugins.api.Site")
    expect(isinstance(effect.moment, Moment), "has no moment")
    for trait in ("linear", "static", "per_tile", "needs_range", "learned_range", "offset_in_range"):
        expect(isinstance(getattr(effect, trait), bool), f"{trait} must be True or False")
    expect(not effect.per_tile or effect.site is Site.SUM, "per_tile is for effects on sums")
    expect(not effect.needs_range or effect.site in INPUT_PATH, "needs_range is for converters of inputs or sums")
    expect(effect.terms >= 1 and effect.nodes >= 1, "terms and nodes must be at least 1")
    expect(effect.slice_bits is None or effect.site is Site.INPUT, "slice_bits is for inputs")
    expect(effect.rows_per_read is None or effect.site is Site.LEAK, "rows_per_read is for leaks")
    bits = effect.bits_used()
    expect(bits is None or (isinstance(bits, int) and 1 <= bits <= 32), f"bits_used() must be None or bits, got {bits}")
    expect(not effect.needs_range or bits is not None, "a converter must tell its bits_used(), for the cost model")


@check("nonideality")
def keeps_shape_and_dtype(subject: Subject) -> None:
    """What it returns has the shape and dtype that its site asks for, and is finite"""
    for dtype in (torch.float32, torch.float64):
        made = bench(subject.instance, dtype=dtype)
        result = made.apply()
        site, given = made.effect.site, conductances(made.x)
        if site in (Site.WRITE, Site.CELL):
            expect(
                isinstance(result, CellState), f"must return a CellState at {site.value}, got {type(result).__name__}"
            )
        out = conductances(result)
        expect(isinstance(out, Tensor), f"must return a tensor, got {type(result).__name__}")
        wanted = (made.effect.terms, *given.shape) if site is Site.CURRENT else tuple(given.shape)
        expect(tuple(out.shape) == wanted, f"returns shape {tuple(out.shape)}, must be {wanted}")
        expect(out.dtype == dtype, f"returns {out.dtype} of {dtype}")
        expect(out.isfinite().all(), "returns what is not finite")


@check("nonideality")
def results_are_physical(subject: Subject) -> None:
    """Conductances and deviations are not negative; gains stay in (0, 1]"""
    made = bench(subject.instance)
    out = conductances(made.apply())
    if made.effect.site in INPUT_PATH or made.effect.site in (Site.GATE_COUPLING, Site.GATE_NOISE):
        raise CheckSkipped("signals may have either sign")
    expect((out >= 0).all(), f"returns a negative number: {float(out.min()):g}")
    if made.effect.site is Site.GATE:
        expect((out <= 1 + 1e-6).all(), f"returns a gain above 1: {float(out.max()):g}")
    if made.effect.site is Site.WIRES:
        expect((out <= made.x * (1 + 1e-6)).all(), "passive wires cannot raise a conductance")


@check("nonideality")
def is_pure(subject: Subject) -> None:
    """`apply` gives equal results for equal arguments, and leaves them as they were"""
    made = bench(subject.instance)
    kept = copied([made.x, made.drawn, made.context.full_scale, made.context.cells])
    first, again = copied(made.apply()), copied(made.apply())
    expect(same(first, again), "the same arguments give different results")
    expect(
        same(kept, [made.x, made.drawn, made.context.full_scale, made.context.cells]), "changes its arguments in place"
    )
    surroundings = made.effect.surroundings(made.context)
    expect(isinstance(surroundings, Context), "surroundings() must return a Context")


@check("nonideality")
def sampling(subject: Subject) -> None:
    """Chip state is drawn from the generator given, on the CPU, not wider than float32"""
    effect: NonIdeality = subject.instance
    if effect.site not in SAMPLED:
        expect(
            effect.sample(CELLS, generator=seeded(1)) is None, f"samples a state, which {effect.site.value} never uses"
        )
        return
    # Many cells, so that rare ones are among them.
    shape = sampled_shape(effect.site, CELLS if effect.site in INPUT_PATH else (2, 1, 1, 200, 100))
    one, again, other = (effect.sample(shape, generator=seeded(s)) for s in (1, 1, 2))
    expect(same(one, again), "one seed gives two chips")
    if one is None:
        return
    expect(not same(one, other), "another seed gives the same chip")
    if isinstance(one, Tensor):
        expect(one.dtype is not torch.float64, "chip state is float64; chips are float32")
        if effect.site in INPUT_PATH:
            expect(tuple(one.shape[1:]) == shape, f"state has shape {tuple(one.shape)}, must be [numbers, {shape}]")


@check("nonideality")
def static(subject: Subject) -> None:
    """It draws at each inference if and only if it says static = False"""
    made = bench(subject.instance)
    effect = made.effect
    if effect.site is Site.READ:
        noisy = bool(made.apply().any())
        expect(noisy != effect.static, f"says static = {effect.static}, and its deviation is {'not ' * noisy}zero")
        return
    if effect.site in MAY_DRAW:
        expect(effect.static, f"drawn once, at {effect.site.value}: the chip is static")
        return
    # Every generator that a context may carry.
    one, other = (effect.apply(made.x, made.state, replace(made.context, generator=seeded(seed))) for seed in (1, 2))
    varies = not same(one, other)
    expect(not (varies and effect.static), "says static = True, and its result depends on the generator")
    expect(varies or effect.static, "says static = False, and nothing varies: the engine computes more than it must")


@check("nonideality")
def linear(subject: Subject) -> None:
    """It is linear in its input if and only if it says so"""
    made = bench(subject.instance, dtype=torch.float64)
    effect = made.effect
    if effect.site is Site.CURRENT:
        v = numbers(2, 40, dtype=torch.float64) * 0.3 * made.context.device.read_voltage
        acts = _is_linear(lambda x: effect.inputs(x, made.context), v[0], v[1])
    elif effect.site in INPUT_PATH:
        other = made.x.flip(0)
        scale = made.context.full_scale
        acts = _is_linear(lambda x: made.apply(x, full_scale=scale), made.x, other)
    else:
        expect(effect.linear, f"at {effect.site.value} an effect changes conductances or gains: linear must be True")
        return
    expect(acts or not effect.linear, "says linear = True, and is not")
    expect(not (acts and not effect.linear), "says linear = False, and is: the engine computes more than it must")


def _is_linear(f: object, x: Tensor, y: Tensor) -> bool:
    assert callable(f)
    left = f(0.3 * x + 0.5 * y)
    right = 0.3 * f(x) + 0.5 * f(y)
    return bool(torch.allclose(left, right, rtol=1e-9, atol=1e-9 * float(right.abs().max())))


@check("nonideality")
def per_tile(subject: Subject) -> None:
    """It acts on each array's partial sum if and only if it says so"""
    made = bench(subject.instance, dtype=torch.float64)
    effect = made.effect
    if effect.site is not Site.SUM:
        raise CheckSkipped("does not act on sums")
    one, other = made.x, made.x.flip(0)
    apart, together = made.apply(one) + made.apply(other), made.apply(one + other)
    adds = bool(torch.allclose(apart, together, rtol=1e-9, atol=1e-9 * float(together.abs().max())))
    expect(adds or effect.per_tile, "says per_tile = False, and converting sums is not summing conversions")
    expect(not (adds and effect.per_tile), "says per_tile = True, and partial sums may as well be added before it")


@check("nonideality")
def needs_range(subject: Subject) -> None:
    """It uses a calibrated range if and only if it says so"""
    made = bench(subject.instance)
    effect = made.effect
    if not effect.needs_range:
        expect(type(effect).calibrate is NonIdeality.calibrate, "calibrates, and says needs_range = False")
        if effect.site in INPUT_PATH:
            free = made.apply(full_scale=torch.tensor([-1.0, 1.0]))
            expect(
                same(free, made.apply(full_scale=torch.tensor([-9.0, 9.0]))), "uses full_scale, and says it does not"
            )
        return
    seen = effect.calibrate(made.x)
    expect(
        tuple(seen.shape) == (2,) and float(seen[0]) <= float(seen[1]), f"calibrate() must give [low, high], got {seen}"
    )
    if effect.fixed_range is None:
        wider = effect.calibrate(3 * made.x)
        expect(float(wider[1]) > float(seen[1]), "calibrate() does not look at the signal")
        empty = torch.zeros(2)
        first = effect.merge(empty, seen)
        expect(torch.allclose(first, seen, rtol=1e-5), "merge() with no range yet must give the range seen")
        merged = effect.merge(first, wider)
        expect(float(merged[1]) > float(first[1]), "merge() does not follow a batch that asks for more")
    top = float(made.context.full_scale[1]) if made.context.full_scale is not None else 1.0
    beyond = made.apply(10 * made.x)
    expect(float(beyond.abs().max()) < 2 * top, "converts what lies far beyond its range")
    try:
        effect.apply(made.x, made.state, replace(made.context, full_scale=None))
    except MemristorError:
        return
    expect(False, "runs without a range; it must raise SimulationError")


@check("nonideality")
def neutral_parameters(subject: Subject) -> None:
    """With its `neutral` parameters it changes nothing"""
    effect: NonIdeality = subject.instance
    off = neutral(effect)
    if not off:
        raise CheckSkipped("declares no neutral parameters")
    known = inspect.signature(subject.target).parameters
    for name in off:
        expect(name in known, f"neutral names '{name}', which is no parameter")
    made = bench(subject.make(**off) if subject.prototype is None else subject.target(**off))
    out = conductances(made.apply())
    if made.effect.site is Site.CURRENT:
        out = out.sum(dim=0)
    if made.effect.site in (Site.READ, Site.LEAK):
        expect(not bool(out.any()), f"is off, and still gives {float(out.abs().max()):g}")
        return
    before = conductances(made.x)
    worst = float(((out - before).abs() / before.abs().clamp_min(1e-30)).max())
    expect(worst <= 1e-6, f"is off, and still changes its signal by {worst:.2g} of itself")


@check("nonideality")
def moments(subject: Subject) -> None:
    """What it draws has the mean and the deviation that it states"""
    effect: NonIdeality = subject.instance
    # One bank of many cells that all hold the same.
    made = bench(effect, cells=(1, 1, 1, 200, 200), share=0.7)
    stated = effect.moments(made.x, made.context)
    if stated is None:
        raise CheckSkipped("states no moments")
    mean, std = stated
    out = conductances(made.apply())
    expect(mean.shape == out.shape == std.shape, "moments() must have the shape of what apply() returns")
    deviation, error = deviation_interval(out)
    wanted, expected = float(std.double().mean()), float(mean.double().mean())
    rounding = 1e-6 * float(out.abs().max())
    off = float(out.double().mean()) - expected
    expect(
        abs(off) <= SIGMAS * deviation / out.numel() ** 0.5 + rounding,
        f"its mean is off by {off:.3g} (stated {expected:.4g})",
    )
    expect(
        abs(deviation - wanted) <= SIGMAS * error + rounding,
        f"its deviation is {deviation:.4g}, and it states {wanted:.4g}",
    )


@check("nonideality")
def parts_are_independent(subject: Subject) -> None:
    """Images, banks and arrays that do not share a line do not see each other"""
    made = bench(subject.instance)
    effect, site = made.effect, made.effect.site
    if site in (Site.WRITE, Site.FLUCTUATION, Site.GATE_NOISE):
        raise CheckSkipped("draws anew each time")
    whole = conductances(made.apply())
    if site in (*INPUT_PATH, Site.GATE, Site.GATE_COUPLING, Site.WIRES):
        part = made.apply(made.x[1:3])
        expect(torch.allclose(part, whole[1:3], rtol=1e-5, atol=1e-30), "a result depends on what else is in the batch")
        return
    bank = 1  # of [planes, banks, ...]

    def cut(t: Tensor) -> Tensor:
        return t[:, bank : bank + 1] if t.shape == torch.Size(CELLS) else t

    cells = None if made.context.cells is None else made.context.cells.map(cut)
    x = made.x.map(cut) if isinstance(made.x, CellState) else cut(made.x)
    state = cut(made.drawn) if isinstance(made.drawn, Tensor) else made.drawn
    one = conductances(effect.apply(x, state, replace(made.context, cells=cells)))
    wanted = whole[:, :, bank : bank + 1] if site is Site.CURRENT else whole[:, bank : bank + 1]
    expect(torch.allclose(one, wanted, rtol=1e-5, atol=1e-30), "a bank's result depends on the other banks")


@check("nonideality")
def gradients(subject: Subject) -> None:
    """Gradients are finite; they are the slope where it is smooth, and pass where it rounds"""
    made = bench(subject.instance, dtype=torch.float64)
    effect = made.effect
    if effect.site is Site.CURRENT:
        v = torch.linspace(-0.8, 0.9, 7, dtype=torch.float64, requires_grad=True)
        top = made.context.device.read_voltage
        tolerances: dict[str, Any] = {"eps": 1e-5, "atol": 1e-5, "rtol": 1e-3, "raise_exception": False}
        right = torch.autograd.gradcheck(lambda u: effect.inputs(u * top, made.context) / top, (v,), **tolerances)
        expect(right, "the gradient of inputs() is not its slope")
        return
    if effect.site not in (*INPUT_PATH, Site.GATE):
        raise CheckSkipped("no gradient passes through it")
    x = made.x.clone().requires_grad_(True)
    out = made.apply(x)
    expect(out.requires_grad, "no gradient passes")
    (slope,) = torch.autograd.grad(out.sum(), x)
    expect(slope.isfinite().all(), "the gradient is not finite")
    inside = torch.ones_like(x, dtype=torch.bool)
    if made.context.full_scale is not None:
        low, high = made.context.full_scale.double()
        inside = (x > low) & (x < high) & (x != 0)
    share = float(((slope - 1).abs() < 0.5)[inside].double().mean())
    expect(share > 0.9, "the gradient inside the range is far from that of passing straight through")


@check("nonideality")
def in_place_twin(subject: Subject) -> None:
    """`apply_` gives what `apply` gives"""
    made = bench(subject.instance)
    if made.effect.site is not Site.SUM:
        raise CheckSkipped("is called on sums alone")
    wanted = made.apply()
    found = made.effect.apply_(made.x.clone(), made.state, made.context)
    expect(torch.allclose(found, wanted, rtol=1e-6), "apply_() and apply() differ")


@check("nonideality")
def effect_trains(subject: Subject) -> None:
    """A small network trains a batch with it and runs on chips"""
    name = subject.name if subject.plugin is not None else "under_test"
    wrong = train_one_batch(small(), stack_for(subject.make(), name))
    expect(not wrong, "; ".join(wrong))
