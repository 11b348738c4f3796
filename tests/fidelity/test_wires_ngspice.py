"""Arrays with resistive wires against ngspice, its tolerances tightened: ohmic cells and two laws of current.

ngspice comes from the system's packages (Debian: ngspice); `.ci/run` installs it. Where it is not on PATH these tests
are skipped, except in continuous integration.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from memristor_plugins.crossbar import effective_conductance, solve_nonlinear

pytestmark = pytest.mark.skipif(
    shutil.which("ngspice") is None and not os.environ.get("CI_NGSPICE"), reason="ngspice is not on PATH"
)

V0, C3 = 0.05, 40.0
LAWS = {"sinh": f"{V0}*sinh((U)/{V0})", "polynomial": f"(U)*(1+{C3}*(U)*(U))"}
OPTIONS = ".options reltol=1e-9 abstol=1e-18 vntol=1e-13 chgtol=1e-20 gmin=1e-18 itl1=1000 numdgt=15"


def law(name: str, g: Tensor, u: Tensor) -> Tensor:
    return g * V0 * torch.sinh(u / V0) if name == "sinh" else g * u * (1 + C3 * u**2)


def netlist(g: Tensor, v: Tensor, wires: dict[str, float], name: str | None) -> str:
    """One array under one input vector; sources of 0 V measure what reaches the ground."""
    rows, cols = g.shape
    lines = ["* array", OPTIONS]

    def wire(label: str, a: str, b: str, ohm: float) -> None:
        # A wire without resistance joins its nodes: a source of 0 V.
        lines.append(f"R{label} {a} {b} {ohm!r}" if ohm else f"Vz{label} {a} {b} 0")

    for i in range(rows):
        lines.append(f"Vin{i} in{i} 0 {float(v[i])!r}")
        for c in range(cols):
            before = f"in{i}" if c == 0 else f"u{i}_{c - 1}"
            wire(f"w{i}_{c}", before, f"u{i}_{c}", wires["r_word"] + (wires["r_source"] if c == 0 else 0.0))
            last = i == rows - 1
            after = f"out{c}" if last else f"d{i + 1}_{c}"
            wire(f"b{i}_{c}", f"d{i}_{c}", after, wires["r_bit"] + (wires["r_sink"] if last else 0.0))
            if float(g[i, c]) == 0:
                continue
            if name is None:
                lines.append(f"Rc{i}_{c} u{i}_{c} d{i}_{c} {1 / float(g[i, c])!r}")
            else:
                across = f"v(u{i}_{c})-v(d{i}_{c})"
                lines.append(f"B{i}_{c} u{i}_{c} d{i}_{c} I={float(g[i, c])!r}*{LAWS[name].replace('U', across)}")
    lines += [f"Vout{c} out{c} 0 0" for c in range(cols)]
    prints = [f"print i(vout{c})" for c in range(cols)]
    return "\n".join([*lines, ".control", "set numdgt=15", "op", *prints, "quit 0", ".endc", ".end", ""])


def ngspice(folder: Path, text: str, cols: int) -> Tensor:
    """Operating point's currents into the ground."""
    (folder / "array.cir").write_text(text)
    done = subprocess.run(
        ["ngspice", "-b", "array.cir"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    found = dict(re.findall(r"i\(vout(\d+)\) = (\S+)", done.stdout))
    assert len(found) == cols, done.stdout + done.stderr
    return torch.tensor([float(found[str(c)]) for c in range(cols)], dtype=torch.float64)


WIRES = [
    {"r_word": 1.0, "r_bit": 1.0, "r_source": 100.0, "r_sink": 100.0},
    {"r_word": 25.0, "r_bit": 3.0, "r_source": 0.0, "r_sink": 700.0},
    {"r_word": 0.0, "r_bit": 10.0, "r_source": 0.0, "r_sink": 0.0},
]


@pytest.mark.parametrize("wires", WIRES, ids=["headline", "uneven", "one line"])
@pytest.mark.parametrize("name", [None, *LAWS], ids=["ohmic", *LAWS])
def test_currents_are_those_of_ngspice(tmp_path: Path, name: str | None, wires: dict[str, float]) -> None:
    generator = torch.Generator().manual_seed(3)
    rows, cols = 14, 9
    g = torch.rand(rows, cols, generator=generator, dtype=torch.float64) * 1e-4 + 1e-7
    g[2, 3] = g[7] = 0.0  # a cell, and all cells of a word line
    v = (torch.rand(rows, generator=generator, dtype=torch.float64) - 0.3) * 0.2
    expected = ngspice(tmp_path, netlist(g, v, wires, name), cols)
    if name is None:
        found = v @ effective_conductance(g, **wires)
    else:
        found = solve_nonlinear(g, v[None], lambda g, u: law(name, g, u), **wires).current[0]
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-6
    # Neither the wires nor the law could be left out.
    plain = (law(name, g, v[:, None]) if name else g * v[:, None]).sum(dim=0)
    assert float((plain - expected).abs().max() / expected.abs().max()) > 1e-3


def test_an_array_of_the_field(tmp_path: Path) -> None:
    """32 x 32 ohmic cells of 0.1 to 20 uS."""
    generator = torch.Generator().manual_seed(4)
    g = torch.rand(32, 32, generator=generator, dtype=torch.float64) * 19.9e-6 + 0.1e-6
    v = torch.rand(32, generator=generator, dtype=torch.float64) * 0.1
    expected = ngspice(tmp_path, netlist(g, v, WIRES[0], None), 32)
    found = v @ effective_conductance(g, **WIRES[0])
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-6
