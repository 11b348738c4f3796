"""Starting weights, a teacher, averaged weights and six views, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from memristor_plugins.cli.assemble import assemble, prepared_test
from memristor_plugins.cli.training import start_from
from memristor_plugins.compose import compose
from memristor_plugins.crossbar.batchnorm import recalibrate_batchnorm
from memristor_plugins.crossbar.convert import running
from memristor_plugins.models.evaluation import calibration_batches

Memristor = Callable[..., Any]


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_training_starts_from_given_weights(
    memristor: Memristor, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    weights = finished / "checkpoints" / "last.ckpt"
    run = ["hardware=tune_digital", "recipe.lr=1e-9", "hardware.clip=null", "trainer.max_epochs=1"]
    done = memristor(tmp_path, "train", *small, *run, f"weights={weights}", "hydra.run.dir=tuned")
    assert done.code == 0, done.err
    old, new = state(finished), state(tmp_path / "tuned")
    trained = [n for n in old if n.endswith("kernel.weight")]
    assert trained
    for name in trained:
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=1e-6)


def test_fine_tuning_does_not_anneal_again(memristor: Memristor, small: tuple[str, ...], tmp_path: Path) -> None:
    """Chips must see the sharp attention that the digital network ended with, not the uniform one it began with."""
    run = [*small, "kernel=dynamic", "kernel.gate=true", "kernel.anneal_epochs=1", "chips=0"]
    done = memristor(tmp_path, "train", *run, "hydra.run.dir=first")
    assert done.code == 0, done.err
    tune = ["hardware=tune_digital", "weights=first/checkpoints/last.ckpt", "trainer.max_epochs=1"]
    done = memristor(tmp_path, "train", *run, *tune, "hydra.run.dir=tuned")
    assert done.code == 0, done.err
    for name in ("first", "tuned"):
        found = [v for n, v in state(tmp_path / name).items() if n.endswith("temperature")]
        assert found
        assert all(float(v) == 1.0 for v in found)


def test_weights_of_another_network_are_refused(
    memristor: Memristor, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    weights = finished / "checkpoints" / "last.ckpt"
    done = memristor(tmp_path, "train", *small, "kernel.banks=3", f"weights={weights}", "hydra.run.dir=tuned")
    assert done.code == 2
    assert done.err.startswith("error: weights: do not fit the network that these overrides compose")
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize("option", ["recipe.ema=0.9", "recipe.lookahead=2", "recipe.optimizer=muon"])
def test_recipes_train_with_a_teacher(
    memristor: Memristor, small: tuple[str, ...], tmp_path: Path, option: str
) -> None:
    run = [*small, option, "hardware=distilled", "hardware.start=0.0", "trainer.max_epochs=2", "chips=1", "tta=true"]
    done = memristor(tmp_path, "train", *run, "hydra.run.dir=run")
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 <= metrics["test/accuracy_tta"] <= 1
    assert all(torch.isfinite(v).all() for v in state(tmp_path / "run").values() if v.is_floating_point())


def test_terms_of_the_loss_shape_the_routing(memristor: Memristor, small: tuple[str, ...], tmp_path: Path) -> None:
    """Two trainings that differ in the sign of a term end apart, digitally and on chips."""
    for start in ("0.0", "1.0"):
        entropies = []
        for name, weight in (("even", -20), ("decisive", 20)):
            folder = f"{name}{start}"
            run = [*small, f"hardware.start={start}", f"recipe.routing_entropy={weight}", "chips=0"]
            done = memristor(tmp_path, "train", *run, f"hydra.run.dir={folder}")
            assert done.code == 0, done.err
            entropies.append(json.loads((tmp_path / folder / "metrics.json").read_text())["routing/entropy_mean"])
        assert entropies[0] > entropies[1]


def test_the_digital_score_of_a_network_trained_on_chips_has_the_digital_networks_batch_norms(
    memristor: Memristor, small: tuple[str, ...], tmp_path: Path
) -> None:
    run = [*small, "hardware.start=0.0", "chips=0"]
    done = memristor(tmp_path, "train", *run, "hydra.run.dir=run")
    assert done.code == 0, done.err
    scored = json.loads((tmp_path / "run" / "metrics.json").read_text())["test/loss"]

    built = assemble(compose("train", run), run)
    start_from(built.module, str(tmp_path / "run" / "checkpoints" / "last.ckpt"))
    network = built.module.network.eval()
    ((images, labels),) = prepared_test(built.data, torch.device("cpu"))

    @torch.no_grad()
    def loss() -> float:
        with running(network, "digital"):
            return float(torch.nn.functional.cross_entropy(network(images).float(), labels))

    assert loss() != pytest.approx(scored, rel=1e-3)  # with the statistics of sampled chips
    with running(network, "digital"):
        recalibrate_batchnorm(network, calibration_batches(built.data, 64))
    assert loss() == pytest.approx(scored, rel=1e-4)
