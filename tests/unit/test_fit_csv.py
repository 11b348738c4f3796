"""Measured files: units of every header, and errors that say line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memristor_plugins.errors import ConfigError, MemristorError
from memristor_plugins.fitting.csv_data import read
from memristor_plugins.fitting.layouts import LAYOUTS, guess
from memristor_plugins.units import OHM, UNITS, parse

SWEEP = "time_s,voltage_v,current_a\n" + "".join(f"{i},0.{i},{i}e-6\n" for i in range(9))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "measured.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("dimension", UNITS)
def test_every_unit_of_every_dimension_is_read(dimension: str) -> None:
    for unit, factor in UNITS[dimension].items():
        header = parse(f" Quantity_{unit.upper()} ", {"quantity": dimension})
        assert header is not None
        assert (header.quantity, header.factor) == ("quantity", factor)


def test_the_longest_name_counts_and_unknown_columns_are_none() -> None:
    quantities = {"gate": "voltage", "gate_voltage": "voltage", "cell": ""}
    header = parse("gate_voltage_mv", quantities)
    assert header is not None
    assert (header.quantity, header.factor) == ("gate_voltage", 1e-3)
    assert parse("comment", quantities) is None
    assert parse("cells", quantities) is None


@pytest.mark.parametrize("text", ["voltage", "voltage_kv", "voltage_ohm", "voltage_volts"])
def test_a_missing_or_unknown_unit_is_an_error(text: str) -> None:
    with pytest.raises(MemristorError, match="unit"):
        parse(text, {"voltage": "voltage"})


def test_mohm_is_refused_because_it_could_be_either() -> None:
    assert "mohm" not in OHM
    with pytest.raises(MemristorError, match="milliohm or megohm"):
        parse("resistance_mohm", {"resistance": "resistance"})


def test_columns_come_in_si_units_whatever_their_order(tmp_path: Path) -> None:
    rows = "".join(f"{7 + i},note,{100 * i},{2 * i}\n" for i in range(1, 9))
    table = read(written(tmp_path, f"# from the probe station\n\ncurrent_na,remark,time_us,voltage_mv\n{rows}"))
    assert table.kind == "iv"
    np.testing.assert_allclose(table["time"], 1e-4 * np.arange(1, 9))
    np.testing.assert_allclose(table["voltage"], 2e-3 * np.arange(1, 9))
    np.testing.assert_allclose(table["current"], 1e-9 * (7 + np.arange(1, 9)))
    assert table.lines.tolist() == list(range(4, 12))


def test_a_resistance_becomes_a_conductance(tmp_path: Path) -> None:
    table = read(written(tmp_path, "time_h,resistance_kohm,cell\n0,50,1\n2,100,1\n"))
    assert table.kind == "retention"
    np.testing.assert_allclose(table["conductance"], [20e-6, 10e-6])
    np.testing.assert_allclose(table["time"], [0, 7200])


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ("time_s,voltage_v,current_a", "iv"),
        ("pulse,conductance_us,polarity", "pulses"),
        ("time_s,conductance_us", "retention"),
        ("target_us,resistance_kohm", "programming"),
    ],
)
def test_the_kind_is_told_from_the_columns(headers: str, kind: str) -> None:
    assert guess(headers.split(",")) == kind
    assert set(LAYOUTS) == {"iv", "pulses", "retention", "programming"}


def test_columns_of_two_kinds_ask_for_a_choice(tmp_path: Path) -> None:
    path = written(tmp_path, "time_s,target_us,conductance_us\n0,1,1\n1,2,2\n")
    with pytest.raises(ConfigError, match=r"kind=retention or another") as error:
        read(path)
    assert error.value.option == "kind"
    assert read(path, "programming").kind == "programming"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", "iv", "is empty"),
        ("# only a comment\n\n", "iv", "is empty"),
        ("time_s,voltage_v,current_a\n", "iv", "line 1: has a header and no rows"),
        ("time_s,voltage_v\n0,1\n", "iv", "line 1: kind=iv needs a column 'current_a'; the file has time_s, voltage_v"),
        ("time_s,conductance\n0,1\n", "retention", "line 1, column 2: 'conductance' has no unit"),
        ("time_s,conductance_uv\n0,1\n", "retention", "line 1, column 2: unknown unit 'uv' of a conductance"),
        ("time_s,voltage_v,current_a\n0,x,1\n", "iv", "line 2, column 2: 'voltage_v' is no number: 'x'"),
        ("time_s,voltage_v,current_a\n0,1,1\n1,,1\n", "iv", "line 3, column 2: 'voltage_v' is empty"),
        ("time_s,voltage_v,current_a\n0,1,1\n\n1,1\n", "iv", "line 4, column 3: 'current_a' is empty"),
        ("time_s,voltage_v,current_a\n0,1,nan\n", "iv", "line 2, column 3: 'current_a' is not finite: 'nan'"),
        ("time_s,voltage_v,current_a\n0,1,-inf\n", "iv", "line 2, column 3: 'current_a' is not finite"),
        ("time_s,voltage_v,current_a\n0,1,1,1\n", "iv", "line 2: has 4 fields, the header has 3"),
        ("time_s;voltage_v;current_a\n0;1;1\n", "iv", "line 1: fields are separated by commas"),
        ("time_s,voltage_v,voltage_mv,current_a\n0,1,1,1\n", "iv", "line 1, column 3: 'voltage_mv' and 'voltage_v'"),
        ("time_s,resistance_ohm,conductance_us\n0,1,1\n", "retention", "both give the conductance"),
        ("time_s,resistance_ohm\n0,5\n1,0\n", "retention", "line 3: a resistance must be > 0"),
        ("time_s,conductance_us\n-1,5\n", "retention", "line 2: time since programming must be >= 0"),
        ("target_us,conductance_us\n-1,5\n", "programming", "line 2: a target conductance must be >= 0"),
        ("pulse,conductance_us\n0,5\n", "pulses", "line 1: kind=pulses needs a column 'polarity'"),
        ("pulse,conductance_us,polarity\n0,5,2\n", "pulses", "line 2: polarity must be 1, -1"),
        (SWEEP.replace("5,0.5", "4,0.5"), "iv", "line 7: time must increase"),
        ("time_s,voltage_v,current_a\n0,1,1\n1,1,1\n", "iv", "a sweep of 2 rows is too short"),
    ],
)
def test_a_malformed_file_is_an_error_with_line_and_column(tmp_path: Path, text: str, kind: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read(path, kind)
    assert error.value.option == "data"
    assert message in error.value.message
    assert str(path) in error.value.message


def test_a_missing_file_and_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="'sweep' is none"):
        read(written(tmp_path, SWEEP), "sweep")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(path)
