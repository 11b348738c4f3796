"""Distributions of other people, really installed: an environment of their own over the one of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = "import sys; from memristor_plugins.cli.main import main; sys.exit(main())"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the packages of the tests' own, and what is installed in it."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    def install(self, *projects: Path) -> None:
        """Build and install projects as pip does, without looking for anything elsewhere."""
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
        paths = [str(p) for p in projects]
        done = subprocess.run(
            [str(self.python), "-m", "pip", "install", *options, *paths], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def package(self, name: str, entry_points: str, files: dict[str, str], version: str = "1.0") -> Path:
        """Write a project: its metadata, entry points in TOML, and files by path below its folder."""
        project = self.folder / "projects" / name
        for path, text in files.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(textwrap.dedent(text), encoding="utf-8")
        modules = ", ".join(f'"{Path(p).stem}"' for p in files if "/" not in p and p.endswith(".py"))
        (project / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
            f'[project]\nname = "{name}"\nversion = "{version}"\n'
            f"[tool.setuptools]\npy-modules = [{modules}]\n{textwrap.dedent(entry_points)}",
            encoding="utf-8",
        )
        return project

    def memristor(
        self, *arguments: str, cwd: Path | None = None, columns: int = 100
    ) -> subprocess.CompletedProcess[str]:
        """`memristor ARGUMENTS` in this environment."""
        variables = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "PYTHONPATH")}
        variables.update({"COLUMNS": str(columns), "OMP_NUM_THREADS": "1"})
        return subprocess.run(
            [str(self.python), "-c", SCRIPT, *arguments],
            cwd=cwd or self.folder, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip


def environment(folder: Path) -> Environment:
    """A new environment over the tests' own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    made = Environment(folder)
    purelib = subprocess.run(
        [str(made.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    own = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    lines = [f"import site; site.addsitedir({p!r})" for p in own]
    (Path(purelib) / "tests_own.pth").write_text("\n".join(lines) + "\n")
    return made


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment for the tests of one module."""
    return environment(tmp_path_factory.mktemp("environment"))
