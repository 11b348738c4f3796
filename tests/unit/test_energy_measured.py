"""Measured references: a real replay, counters that stand in for hardware, and errors where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, program, running
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.energy import gpu_measured
from memristor_plugins.energy.cpu_measured import CPUMeasured
from memristor_plugins.energy.gpu_measured import GPUMeasured
from memristor_plugins.energy.measuring import WARM_UP, measure
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.energy import WorkloadProfile
from memristor_plugins.mappings.differential import Differential


def workload(calls: list[tuple[str, int, str]], on_run: Callable[[], None]) -> WorkloadProfile:
    def replay(device: str, batch: int, precision: str) -> Callable[[], None]:
        calls.append((device, batch, precision))
        return on_run

    return WorkloadProfile((), 100.0, 1e-8, 1, "digits", "ideal", replay=replay)


def test_a_counter_is_read_around_whole_runs() -> None:
    """Each run takes 0.4 s and 3 J: three runs pass one second, the warm-up is not counted."""
    now, used = [0.0], [100.0]

    def run() -> None:
        now[0] += 0.4
        used[0] += 3.0

    found = measure(run, lambda: used[0], 1.0, lambda: now[0])
    assert found.runs == 3
    assert (found.joules, found.seconds) == pytest.approx((3.0, 0.4))
    assert used[0] == 100.0 + 3.0 * (3 + WARM_UP)


class FakeNVML(ModuleType):
    class NVMLError(Exception):
        pass

    def __init__(self, used: list[float], fault: str | None = None) -> None:
        super().__init__("pynvml")
        self.used, self.fault = used, fault

    def nvmlInit(self) -> None:
        if self.fault:
            raise self.NVMLError(self.fault)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        assert uuid == "GPU-1"
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> float:
        assert handle == "handle"
        return self.used[0]

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "NVIDIA H100"


def test_a_gpu_is_measured_by_its_counter_in_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [1e6]
    monkeypatch.setitem(sys.modules, "pynvml", FakeNVML(used))
    monkeypatch.setattr(gpu_measured, "_uuid", lambda index: f"GPU-{index}")
    calls: list[tuple[str, int, str]] = []

    def run() -> None:
        used[0] += 800.0  # mJ a batch

    report = GPUMeasured(batch=4, index=1, seconds=1e-6).estimate(workload(calls, run))
    assert calls == [("cuda:1", 4, "fp16")]
    assert report.total_j == pytest.approx(0.2)
    assert report.batch == 4
    assert report.interval_s == pytest.approx((report.latency_s or 0) / 4)
    assert [s for s in report.assumptions if "NVIDIA H100" in s]
    assert [s for s in report.assumptions if "batch 4" in s and "idle power" in s]


def test_no_gpu_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(SimulationError, match=r"needs nvidia-ml-py: pip install 'memristor-plugins\[gpu\]'"):
        GPUMeasured().check()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNVML([0.0], "Driver Not Loaded"))
    with pytest.raises(
        SimulationError, match=r"no GPU whose energy can be read \(Driver Not Loaded\); choose gpu_roofline"
    ):
        GPUMeasured().check()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNVML([0.0]))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SimulationError, match="PyTorch sees 0 GPUs here, none with index 3"):
        GPUMeasured(index=3).check()


class FakeZeus(ModuleType):
    """zeus.device.cpu with two sockets, of which one counts its memory, and a laptop's whole-platform counter."""

    def __init__(self, used: list[float], fault: Exception | None = None) -> None:
        super().__init__("zeus.device.cpu")
        self.used, self.fault = used, fault
        zones = ("package-0", "package-1", "psys")
        self.cpus = [SimpleNamespace(rapl_file=SimpleNamespace(name=name)) for name in zones]

    def get_cpus(self) -> FakeZeus:
        if self.fault:
            raise self.fault
        return self

    def get_total_energy_consumption(self, index: int) -> Any:
        return SimpleNamespace(cpu_mj=self.used[0], dram_mj=(None, self.used[0] / 2, 1e9)[index])


def put_zeus(monkeypatch: pytest.MonkeyPatch, fake: FakeZeus | None, error: type[Exception]) -> None:
    monkeypatch.setitem(sys.modules, "zeus", ModuleType("zeus"))
    monkeypatch.setitem(sys.modules, "zeus.device", ModuleType("zeus.device"))
    monkeypatch.setitem(sys.modules, "zeus.device.cpu", fake)
    module = ModuleType("zeus.exception")
    module.ZeusBaseError = error  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zeus.exception", module)


def test_a_cpu_is_measured_over_sockets_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [0.0]
    put_zeus(monkeypatch, FakeZeus(used), RuntimeError)
    calls: list[tuple[str, int, str]] = []

    def run() -> None:
        used[0] += 1000.0

    report = CPUMeasured(batch=5, seconds=1e-6).estimate(workload(calls, run))
    assert calls == [("cpu", 5, "fp32")]
    # Two sockets of 1 J and memory of 0.5 J a batch of five.
    assert report.total_j == pytest.approx(0.5)
    assert [s for s in report.assumptions if "2 sockets" in s]


def test_no_counters_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZeusError(Exception):
        pass

    put_zeus(monkeypatch, None, ZeusError)
    with pytest.raises(SimulationError, match=r"needs zeus: pip install 'memristor-plugins\[rapl\]'"):
        CPUMeasured().check()
    for fault in (ZeusError("not supported"), PermissionError("denied")):
        put_zeus(monkeypatch, FakeZeus([0.0], fault), ZeusError)
        with pytest.raises(SimulationError, match=rf"cannot be read here \({fault}\); choose cpu_roofline"):
            CPUMeasured().check()
    empty = FakeZeus([0.0])
    empty.cpus = []
    put_zeus(monkeypatch, empty, ZeusError)
    with pytest.raises(SimulationError, match="no socket counts"):
        CPUMeasured().check()


def test_a_profile_without_a_network_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    put_zeus(monkeypatch, FakeZeus([0.0]), RuntimeError)
    with pytest.raises(SimulationError, match="energy=cpu_measured runs the network itself"):
        CPUMeasured().estimate(WorkloadProfile((), 0.0, 1e-8, 1, "none", "ideal"))


def test_a_replay_is_the_digital_network_and_leaves_the_chip_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    analog = analogize(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3)), Stack(Ideal(), Differential())
    )
    program(analog.eval())
    x = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    work = profile(analog, [x], "test")
    layers = analog_layers(analog).values()
    chips = [layer.programmed for layer in layers]
    assert work.replay is not None
    run = work.replay("cpu", 7, "fp32")
    assert all(layer.programmed is chip for layer, chip in zip(layers, chips, strict=True))
    assert None not in chips
    seen: list[tuple[int, ...]] = []
    original: Any = nn.Sequential.forward

    def spy(self: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = original(self, images)
        seen.append(tuple(images.shape))
        with running(analog, "digital"):
            torch.testing.assert_close(out, original(analog, images))
        return out

    monkeypatch.setattr(nn.Sequential, "forward", spy)
    run()
    assert seen == [(7, 1, 6, 6)]
