"""The tabulated device: its file, its statistics, and tables made from repeated reads."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from memristor_plugins.devices import correlated_reads, table_file, table_from_reads
from memristor_plugins.devices.correlated_reads import ReadProcess
from memristor_plugins.devices.table import Table
from memristor_plugins.devices.table_from_reads import ReadStatistics
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.device import CellState

STANDARD_ERRORS = 3.89  # 99.99 % confidence
MEASURED = Path(__file__).resolve().parents[3] / "shared" / "measured"
CELLS = 200_000

GOOD = """# Two targets, two times.
target_us,time_h,mean_us,std_us,read_std_us,read_correlation_1,read_correlation_10,failed_low,failed_low_g_us

10,0,10.5,0.6,0.3,0.75,0.4,0.02,0.5
20,0,21.5,1.0,0.5,0.75,0.4,0.04,0.5
10,2,10.1,0.8,0.3,0.75,0.4,0.02,0.5
20,2,20.5,1.5,0.5,0.75,0.4,0.04,0.5
"""


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def device(tmp_path: Path, text: str = GOOD, **settings: float | bool | None) -> Table:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return Table(file=str(path), **settings)  # type: ignore[arg-type]


def written(table: Table, g: float, count: int = CELLS) -> CellState:
    return table.program(torch.full((count,), g, dtype=torch.float64), generator=seeded())


def assert_moments(sample: Tensor, mean: float, std: float) -> None:
    n = sample.numel()
    assert abs(sample.mean().item() - mean) < STANDARD_ERRORS * std / math.sqrt(n)
    assert abs(sample.std().item() / std - 1) < STANDARD_ERRORS / math.sqrt(2 * n)


# --- the device --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "g", "mean", "std"),
    [
        (0.0, 10e-6, 10.5, 0.6),
        (0.0, 15e-6, 16.0, 0.8),
        (2.0, 10e-6, 10.1, 0.8),
        (2.0, 20e-6, 20.5, 1.5),
        (2 * (math.sqrt(2) - 1), 20e-6, 21.0, 1.25),  # ln(1 + t / 2 h) is half of ln 2
    ],
)
def test_cells_are_distributed_as_the_file_says(
    tmp_path: Path, hours: float, g: float, mean: float, std: float
) -> None:
    table = device(tmp_path, frozen=0.0, failures=False)
    state = written(table, g)
    assert_moments(table.conductance(state, hours * 3600) * 1e6, mean, std)


def test_all_times_lie_on_one_trajectory(tmp_path: Path) -> None:
    table = device(tmp_path, failures=False)
    state = written(table, 20e-6, 1000)
    assert torch.equal(table.conductance(state, 0.0), state.g)
    order = state.g.argsort()
    assert bool((table.conductance(state, 7200)[order].diff() >= 0).all())


def test_held_cells_start_on_their_targets_and_move_by_the_changes(tmp_path: Path) -> None:
    table = device(tmp_path, frozen=0.0, failures=False)
    state = table.hold(torch.full((CELLS,), 20e-6, dtype=torch.float64), generator=seeded())
    assert torch.equal(table.conductance(state, 0.0), state.target)
    assert_moments(table.conductance(state, 7200) * 1e6, 20.0 - 1.0, 0.5)


def test_frozen_and_new_read_noise_add_up_to_what_was_measured(tmp_path: Path) -> None:
    """std 1.0 and read_std 0.5 at 20 uS: single reads deviate by sqrt(1.25) whatever the share that stays."""
    for frozen, share in ((None, 0.75), (0.0, 0.0), (0.3, 0.3), (1.0, 1.0)):
        table = device(tmp_path, failures=False, frozen=frozen)
        state = written(table, 20e-6)
        assert_moments(state.g * 1e6, 21.5, math.sqrt(1.0 + share * 0.25))
        std = table.read_std(state.g, state, 0.0)
        assert std[0].item() * 1e6 == pytest.approx(0.5 * math.sqrt(1 - share), abs=1e-12)
        single = table.read(state.g, state, generator=seeded(1))
        assert_moments(single * 1e6, 21.5, math.sqrt(1.25))


def test_failed_cells_are_drawn_at_their_share_and_stay_as_they_are(tmp_path: Path) -> None:
    table = device(tmp_path)
    state = written(table, 20e-6)
    failed = state.g == 0.5e-6
    share = failed.double().mean().item()
    assert abs(share - 0.04) < STANDARD_ERRORS * math.sqrt(0.04 * 0.96 / CELLS)
    aged = table.conductance(state, 7200)
    assert bool((aged[failed] == 0.5e-6).all())
    assert_moments(state.g[~failed] * 1e6, 21.5, math.sqrt(1.0 + 0.75 * 0.25))
    noise = table.read_std(state.g, state, 0.0)
    assert noise[failed].max().item() < 0.05 * noise[~failed].min().item()
    again = table.program(state.target, generator=seeded(9), cells=state.cells)
    assert torch.equal(again.g == 0.5e-6, failed)
    assert "fate" not in device(tmp_path, failures=False).fabricate((3,), generator=seeded()).constants


def test_targets_default_to_what_was_measured(tmp_path: Path) -> None:
    table = device(tmp_path)
    assert [table.g_min, table.g_max] == pytest.approx([10e-6, 20e-6])
    one = device(tmp_path, "target_ns,mean_ns,std_ns\n5000,5000,100\n")
    assert [one.g_min, one.g_max] == pytest.approx([0.0, 5e-6])
    assert bool((one.read_std(torch.ones(2), written(one, 1e-6, 2), 0.0) == 0).all())
    with pytest.raises(ConfigError, match=r"device\.g_min"):
        device(tmp_path, g_min=30e-6)


def test_a_file_without_times_holds_at_all_times(tmp_path: Path) -> None:
    table = device(tmp_path, "target_us,mean_us,std_us,read_std_us\n5,5,0.1,0.2\n10,10,0.1,0.2\n")
    state = written(table, 7e-6, 3)
    assert torch.equal(table.conductance(state, 1e6), state.g)
    torch.testing.assert_close(table.read_std(state.g, state, 1e6), torch.full((3,), 0.2e-6, dtype=torch.float64))
    with pytest.raises(SimulationError, match="seconds must be >= 0"):
        table.conductance(state, -1.0)


def test_a_time_that_was_not_measured_is_an_error(tmp_path: Path) -> None:
    table = device(tmp_path)
    state = written(table, 10e-6, 3)
    with pytest.raises(SimulationError, match="the nearest valid time is 7200 s"):
        table.conductance(state, 7201.0)
    late = device(tmp_path, "target_us,time_s,mean_us,std_us\n5,10,5,0.1\n5,100,5,0.2\n")
    assert late.conductance(written(late, 5e-6, 3), 0.0).shape == (3,)
    with pytest.raises(SimulationError, match="measured from 10 s to 100 s"):
        late.conductance(written(late, 5e-6, 3), 5.0)


# --- its file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line names the columns"),
        ("target_us,mean_us,std_us\n", "line 1: has a header and no rows"),
        ("target_us,mean_us\n1,1\n", "line 1: needs a column 'std_us'; the file has target_us, mean_us"),
        ("target_us,mean_us,std_ua\n1,1,1\n", "line 1, column 3: unknown unit 'ua'"),
        ("target_us,mean_us,std\n1,1,1\n", "line 1, column 3: 'std' has no unit; write std_s"),
        ("target_us,mean_us,std_us,spread_us\n1,1,1,1\n", "line 1, column 4: no such column as 'spread_us'"),
        ("target_us,mean_us,std_us,std_ns\n1,1,1,1\n", "line 1, column 4: 'std_ns' gives the std a second time"),
        ("# note\ntarget_us,mean_us,std_us\n\n1,1,x\n", "line 4, column 3: 'std_us' is no number: 'x'"),
        ("target_us,mean_us,std_us\n1,,1\n", "line 2, column 2: 'mean_us' is empty"),
        ("target_us,mean_us,std_us\n1,nan,1\n", "line 2, column 2: 'mean_us' is not finite"),
        ("target_us,mean_us,std_us\n1,1,-1\n", "line 2, column 3: 'std_us' must be >= 0, got -1"),
        ("target_us,mean_us,std_us\n1,1\n", "line 2: has 2 fields, the header has 3"),
        ("target_us,mean_us,std_us\n1,1,1\n1,2,1\n", "line 3: target 1e-06 S at 0 s stands in the file already"),
        (
            "target_us,time_s,mean_us,std_us\n1,0,1,1\n2,0,1,1\n1,5,1,1\n",
            "target 2e-06 S has no row at 5 s; every target needs the same times",
        ),
        ("target_us,mean_us,std_us,failed_low\n1,1,1,0.1\n", "'failed_low' needs 'failed_low_g_us'"),
        ("target_us,mean_us,std_us,read_correlation_1\n1,1,1,1.5\n", "line 2, column 4: .* must be at most 1"),
        (
            "target_us,mean_us,std_us,failed_low,failed_low_g_us,failed_high,failed_high_g_us\n1,1,1,.6,0,.6,9\n",
            "line 2: failed_low \\+ failed_high is above 1",
        ),
    ],
)
def test_a_malformed_file_is_an_error_with_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        device(tmp_path, text)
    assert caught.value.option == "device.file"
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^device\.file: no such file: .*gone\.csv"):
        Table(file=str(tmp_path / "gone.csv"))


def test_units_of_every_column_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("target_ms,time_min,mean_us,std_ns,read_std_s\n0.02,3,20,500,1e-7\n")
    found = table_file.read(path)
    assert found.times == (180.0,)
    values = [found.targets[0], *(found[name][0, 0] for name in ("mean", "std", "read_std"))]
    torch.testing.assert_close(torch.stack(values), torch.tensor([20e-6, 20e-6, 0.5e-6, 0.1e-6], dtype=torch.float64))


# --- tables from repeated reads ----------------------------------------------------------------------------


@pytest.mark.parametrize("process", [ReadProcess(1.0, 0.9, 0.7), ReadProcess(1.0, 0.6, 0.1), ReadProcess(1.0, 0, 0)])
def test_the_noise_process_has_its_variance_and_correlations(process: ReadProcess) -> None:
    n, count = 40_000, 12
    noise = correlated_reads.noise(
        (n,), count, lasting=process.lasting, decay=process.decay, generator=seeded()
    ).double()
    assert noise.shape == (count, n)
    for k, expected in ((0, 1.0), (1, process.lag_1), (10, process.lag_10)):
        product = (noise[0] * noise[k]).mean().item()
        assert abs(product - expected) < STANDARD_ERRORS * math.sqrt((1 + expected**2) / n)


@pytest.mark.parametrize(
    ("lag_1", "lag_10", "rel"),
    # The third lasts longer than the record.
    [(0.8, 0.5, 0.03), (0.3, 0.05, 0.03), (0.95, 0.85, 0.1), (0.0, 0.0, 0.03)],
)
def test_the_noise_of_records_is_recovered_though_their_means_hide_some(
    lag_1: float, lag_10: float, rel: float
) -> None:
    process = ReadProcess(0.4, lag_1, lag_10)
    noise = correlated_reads.noise(
        (4000,), 60, lasting=process.lasting, decay=process.decay, generator=seeded(3)
    ).double()
    records = 0.4 * noise.T + torch.randn(4000, 1, generator=seeded(4), dtype=torch.float64)
    found = correlated_reads.fit(records)
    assert found.std == pytest.approx(0.4, rel=rel)
    assert found.lag_1 == pytest.approx(lag_1, abs=0.02)
    assert found.lag_10 == pytest.approx(lag_10, abs=0.03)
    naive = correlated_reads.autocovariance(records, (0, 10))
    if lag_10 > 0.3:
        assert (naive[1] / naive[0]).item() < lag_10 - 0.05  # what the correction is for


def test_the_variance_of_an_average_is_that_of_its_reads() -> None:
    process = ReadProcess(0.5, 0.9, 0.6)
    noise = correlated_reads.noise((50_000,), 30, lasting=process.lasting, decay=process.decay, generator=seeded())
    measured = 0.25 * noise.double().mean(dim=0).var().item()
    assert correlated_reads.variance_of_mean(process, 30) == pytest.approx(measured, rel=0.03)
    assert correlated_reads.variance_of_mean(ReadProcess(1.0, 0.0, 0.0), 25) == pytest.approx(0.04)


def assert_reproduced(reads: Tensor, good: Tensor, table: Table, target: float, found: ReadStatistics) -> None:
    """Cells of the table, read as often, have the mean, spread, read noise, correlations and failures of the reads.

    Within three standard errors of the measurement, estimated from its own cells by leaving out one at a time.
    """
    simulated = table.reads(torch.full((10_000,), target, dtype=torch.float64), reads.shape[1], generator=seeded(5)).T
    middle = simulated.median(dim=1).values
    failed = (middle < target / 2) | (middle > target * 2)

    def features(records: Tensor) -> Tensor:
        # As `autocovariance`, but of each cell, so that leaving one out is a subtraction.
        d = records - records.mean(dim=1, keepdim=True)
        lags = (0, 1, 2, 5, 10, 20)
        products = torch.stack([(d[:, k:] * d[:, : d.shape[1] - k]).mean(dim=1) for k in lags])
        means = records.mean(dim=1)
        n = len(means)
        keep = 1 - torch.eye(n, dtype=torch.float64) if n < 1000 else torch.ones(1, n, dtype=torch.float64)
        weight = keep / keep.sum(dim=1, keepdim=True)
        auto = weight @ products.T
        mean = weight @ means
        spread = (weight @ means.square() - mean.square()).clamp_min(0).sqrt()
        return torch.cat((mean[:, None], spread[:, None], auto[:, :1].sqrt(), auto[:, 1:] / auto[:, :1]), dim=1)

    jack = features(reads[good])
    n = len(jack)
    error = (jack.var(dim=0) * (n - 1) ** 2 / n).sqrt()
    deviation = (features(simulated[~failed])[0] - jack.mean(dim=0)).abs()
    assert bool((deviation < 3 * error + 1e-3 * jack.mean(dim=0).abs()).all()), (deviation / error).tolist()
    share = (len(found.failed_low) + len(found.failed_high)) / found.cells
    # Cells of the tails cross the criterion too.
    assert abs(failed.double().mean().item() - share) < 0.02


def test_synthetic_reads_become_a_table_that_reproduces_them(tmp_path: Path) -> None:
    process, target, cells, count = ReadProcess(1.2e-6, 0.85, 0.5), 20e-6, 400, 100
    noise = correlated_reads.noise((cells,), count, lasting=process.lasting, decay=process.decay, generator=seeded())
    own = 21e-6 + 1.5e-6 * torch.randn(cells, generator=seeded(1), dtype=torch.float64)
    own[:8], own[8:12] = 2e-6, 90e-6
    noise[:, :12] *= 0.1
    g = (own + process.std * noise.double()).T.clamp_min(1e-8)
    path = tmp_path / "reads.csv"
    header = ",".join(["cell", *(f"resistance_kohm_{i}" for i in range(count))])
    rows = (",".join([f"c{i}", *(f"{1e-3 / x:.8g}" for x in row.tolist())]) for i, row in enumerate(g))
    path.write_text("\n".join([header, *rows]) + "\n")

    names, reads = table_from_reads.read_cells(path)
    torch.testing.assert_close(reads, g, rtol=1e-6, atol=0)
    found = table_from_reads.summarise(reads, target, names=names)
    assert found.failed_low == tuple(f"c{i}" for i in range(8))
    assert found.failed_high == tuple(f"c{i}" for i in range(8, 12))
    assert found.failed_low_g == pytest.approx(2e-6, rel=0.05)
    assert found.failed_high_g == pytest.approx(90e-6, rel=0.05)
    assert found.mean == pytest.approx(21e-6, rel=0.02)
    assert found.std == pytest.approx(1.5e-6, rel=0.15)
    assert found.process.std == pytest.approx(1.2e-6, rel=0.05)
    table = device(tmp_path, table_from_reads.table([found]))
    assert "# target 20 uS: failed above: cells c8 c9 c10 c11" in (tmp_path / "table.csv").read_text()
    good = torch.arange(cells) >= 12
    assert_reproduced(reads, good, table, target, found)


@pytest.mark.skipif(not MEASURED.is_dir(), reason="the measured reads are not beside this checkout")
@pytest.mark.parametrize(
    ("file", "ohm", "failed"), [("rram_reset_to_40k.csv", 40e3, 5), ("rram_target_100_120k.csv", 110e3, 5)]
)
def test_measured_reads_become_a_table_that_reproduces_them(tmp_path: Path, file: str, ohm: float, failed: int) -> None:
    """SkyWater RRAM, 101 cells read 200 times."""
    names, reads = table_from_reads.read_cells(MEASURED / file)
    assert reads.shape == (101, 200)
    found = table_from_reads.summarise(reads, 1 / ohm, names=names)
    bad = found.failed_low + found.failed_high
    assert len(bad) == failed
    good = torch.tensor([name not in bad for name in names])
    table = device(tmp_path, table_from_reads.table([found]))
    assert_reproduced(reads, good, table, 1 / ohm, found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell,resistance_ohm_0\n", "has no rows"),
        ("name,resistance_ohm_0\n1,5\n", "line 1, column 1: must be 'cell', got 'name'"),
        ("cell,resistance_v_0\n1,5\n", "line 1, column 2: unknown unit 'v'"),
        ("cell,current_ua_0\n1,5\n", "line 1, column 2: must be such as 'resistance_ohm_0', got 'current_ua_0'"),
        ("cell,resistance_ohm_0\n1,5\n2,0\n", "line 3, column 2: a resistance must be > 0, got '0'"),
        ("cell,resistance_ohm_0\n1,five\n", "line 2, column 2: is no number: 'five'"),
        ("cell,resistance_ohm_0,resistance_ohm_1\n1,5\n", "line 2: has 2 fields, the header has 3"),
    ],
)
def test_malformed_reads_are_errors_with_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "reads.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        table_from_reads.read_cells(path)
    assert caught.value.option == "data"


def test_too_few_reads_or_a_wrong_target_are_errors() -> None:
    g = torch.full((5, 30), 1e-6) * (1 + 0.01 * torch.rand(5, 30, generator=seeded()))
    with pytest.raises(ConfigError, match="at least 20 reads"):
        table_from_reads.summarise(g[:, :19], 1e-6)
    with pytest.raises(ConfigError, match="0 of 5 cells lie within a factor of 2"):
        table_from_reads.summarise(g, 1e-3)
    one = table_from_reads.summarise(g, 1e-6)
    with pytest.raises(ConfigError, match="a target of its own"):
        table_from_reads.table([one, one])
