"""`memristor plugins new`: for each group a package that installs, is listed, conforms and trains, with no edit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memristor_plugins import registry

if TYPE_CHECKING:
    from tests.integration.conftest import Environment
else:
    Environment = Any

pytest.importorskip("copier")
NAMES = {group: f"stranger_{group}" for group in registry.GROUPS}
MANY = ("nonideality", "energy")
SCRIPT = "import sys; from memristor_plugins.cli.main import main; sys.exit(main())"


@pytest.fixture(scope="module")
def installed(clean: Environment) -> Environment:
    """All five packages, rendered by the command and installed."""
    for group, name in NAMES.items():
        done = clean.memristor(
            "plugins", "new", "--group", group, "--name", name, "--author", "A Stranger", f"new/{name}"
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"memristor plugins check {group}/{name}" in done.stdout
    clean.install(*(clean.folder / "new" / name for name in NAMES.values()))
    return clean


def test_they_are_listed_and_nothing_is_wrong_with_them(installed: Environment) -> None:
    found = {(p["group"], p["name"]): p for p in json.loads(installed.memristor("plugins", "list", "--json").stdout)}
    for group, name in NAMES.items():
        listed = found[group, name]
        assert (listed["distribution"], listed["version"]) == (f"memristor-{name.replace('_', '-')}", "0.1.0")
        assert listed["summary"]
        assert listed["problem"] is None


def test_they_conform(installed: Environment) -> None:
    done = installed.memristor("plugins", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 plugins: 5 conform, 0 do not" in done.stdout
    # Nothing a new plugin could promise is left out of what is checked.
    done = installed.memristor("plugins", "check", "nonideality/stranger_nonideality", "--json")
    status = {c["check"]: c["status"] for c in json.loads(done.stdout)["checks"]}
    assert status["moments"] == status["neutral_parameters"] == status["summary"] == "passed"


@pytest.mark.parametrize("group", NAMES)
def test_each_trains_one_batch(installed: Environment, group: str, tmp_path: Path) -> None:
    done = installed.memristor("train", f"experiment={NAMES[group]}", "trainer.fast_dev_run=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run folder" in done.stdout


@pytest.mark.parametrize("group", NAMES)
def test_each_has_its_preset(installed: Environment, group: str) -> None:
    conf = installed.folder / "new" / NAMES[group] / "src" / f"memristor_{NAMES[group]}" / "conf" / group
    (preset,) = [p.stem for p in conf.glob("*.yaml")]
    changed = [
        line.partition(":")[0] for line in (conf / f"{preset}.yaml").read_text().splitlines() if line[:1].isalpha()
    ]
    choose = f"{group}=[{preset}]" if group in MANY else f"{group}={preset}"
    done = installed.memristor(
        "train", choose, "--cfg", "job", "--package", registry.GROUPS[group].package.format(name=NAMES[group])
    )
    assert (done.returncode, done.stderr) == (0, "")
    default = json.loads(installed.memristor("plugins", "show", f"{group}/{NAMES[group]}", "--json").stdout)
    values = {p["name"]: p["default"] for p in default["parameters"]}
    (parameter,) = [name for name in changed if name in values]
    written = next(line for line in done.stdout.splitlines() if line.startswith(f"{parameter}:"))
    assert float(written.partition(":")[2]) != values[parameter]


def test_a_package_has_its_dotfiles_workflow_and_tests(installed: Environment) -> None:
    for group, name in NAMES.items():
        root = installed.folder / "new" / name
        files = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
        assert {
            ".gitignore",
            ".github/workflows/ci.yml",
            "README.md",
            "pyproject.toml",
            f"tests/test_{name}.py",
        } <= files
        assert not any("{{" in f or f.endswith(".jinja") for f in files)
        workflow = (root / ".github/workflows/ci.yml").read_text()
        assert "${{ matrix.python }}" in workflow
        assert f"memristor plugins check {group}/{name}" in workflow
        assert 'authors = [{ name = "A Stranger" }]' in (root / "pyproject.toml").read_text()
        source = (root / "src" / f"memristor_{name}" / f"{name}.py").read_text()
        assert "{%" not in source
        compile(source, name, "exec")


def test_their_own_tests_pass(installed: Environment) -> None:
    root = installed.folder / "new" / NAMES["kernel"]
    done = subprocess.run(
        [str(installed.python), "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(root)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def refusal(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "plugins", "new", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("group", "name", "line"),
    [
        ("devcie", "a", "error: --group: no such group 'devcie'; did you mean 'device'?"),
        (
            "device",
            "My-Cell",
            "error: --name: 'My-Cell' must be small letters, digits and single underscores, such as my_cell",
        ),
        ("device", "ideal", "error: --name: device=ideal is a plugin of memristor-plugins already; take another name"),
        ("device", "class", "error: --name: 'class' is a word of Python's own; take another name, such as class_cell"),
    ],
)
def test_what_cannot_be_made_is_told_in_a_line(tmp_path: Path, group: str, name: str, line: str) -> None:
    assert refusal("--group", group, "--name", name, "here", cwd=tmp_path) == line
    assert not (tmp_path / "here").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes.txt").write_text("mine")
    line = "error: here: exists and is not an empty folder; name a new one"
    assert refusal("--group", "device", "--name", "cell", "here", cwd=tmp_path) == line


def test_without_copier_the_extra_is_named(tmp_path: Path) -> None:
    code = f"import sys; sys.modules['copier'] = None; {SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", code, "plugins", "new", "--group", "device", "--name", "cell", "here"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: memristor plugins new needs copier: pip install 'memristor-plugins[sdk]'\n"
