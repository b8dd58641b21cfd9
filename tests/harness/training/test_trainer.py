"""The loop itself, on both real networks at tiny widths."""

import dataclasses

import pytest
import torch
from accelerate.state import AcceleratorState

from harness.running import environment
from harness.running.launch import Team
from harness.training.crops import CropSource
from harness.training.initial import start_as_block_transform
from harness.training.objective import PEAK, RateDistortion
from harness.training.plan import TrainingPlan
from harness.training.trainer import Trainer
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.errors import LaMoFCBenchError

WIDTHS = {"hyperprior": (4, 6), "elic": (4, 20)}


def plan(codec="hyperprior", **changes):
    settings = TrainingPlan(
        codec=codec, lmbda=0.01, widths=WIDTHS[codec], steps=12, data="in-memory", batch_size=2, warmup_steps=2,
        crop=64, validate_every=2, validation_elements=3 * 64 * 64,
    )  # fmt: skip
    return dataclasses.replace(settings, **changes)


@pytest.fixture
def trainer_of(planes, tmp_path):
    """A trainer with fresh weights; its checkpoint lies in the folder named."""

    def make(settings, folder="run"):
        environment.seed_everything(settings.seed)
        network = NETWORKS[settings.codec](*settings.widths)
        training = CropSource(planes, settings.crop, settings.batch_size, settings.seed)
        held_out = CropSource(planes, settings.crop, settings.batch_size, settings.seed, held_out=True)
        held_out = held_out.draws(settings.validation_elements)
        return Trainer(network, settings, training, held_out, tmp_path / folder / "network.pt", Team())

    return make


def bits_of(trainer):
    return {name: value.clone() for name, value in (trainer.network.state_dict() | trainer.average).items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("codec", NETWORKS)
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(codec, trainer_of):
    whole = trainer_of(plan(codec), "whole")
    losses = [progress.curve[-1:] for progress in whole.steps()]
    assert len(losses) == whole.progress.step == 12
    stopped = trainer_of(plan(codec), "parts")
    for progress in stopped.steps():
        if progress.step == 11:  # one step after the checkpoint, which is lost
            break
    resumed = trainer_of(plan(codec), "parts")
    assert resumed.progress.step == 10
    for _ in resumed.steps():
        pass
    assert_equal(bits_of(resumed), bits_of(whole))
    times = ("seconds",)
    rows, again = (
        [{k: v for k, v in row.items() if k not in times} for row in t.progress.curve] for t in (whole, resumed)
    )
    assert rows == again


def test_a_seed_gives_the_same_weights_and_another_seed_others(trainer_of):
    runs = []
    for number, seed in enumerate((1, 1, 2)):
        trainer = trainer_of(plan(steps=4, seed=seed), f"run{number}")
        for _ in trainer.steps():
            pass
        runs.append(bits_of(trainer))
    assert_equal(runs[0], runs[1])
    assert not torch.equal(runs[0]["g_a.0.weight"], runs[2]["g_a.0.weight"])


def test_training_lowers_the_validation_loss_and_moves_the_quantiles(trainer_of):
    settings = plan(steps=60, validate_every=10, learning_rate=3e-3, average_decay=0.9)
    trainer = trainer_of(settings)
    before = trainer.network.get_parameter("entropy_bottleneck.quantiles").detach().clone()
    start = trainer.validate()
    for _ in trainer.steps():
        pass
    last = trainer.progress.curve[-1]
    assert last["validation_loss"] < 0.8 * start.loss
    assert last["validation_loss"] == pytest.approx(
        last["validation_bpp"] + settings.lmbda * PEAK**2 * last["validation_mse"]
    )
    assert not torch.equal(before, trainer.network.get_parameter("entropy_bottleneck.quantiles"))


def test_a_checkpoint_of_another_plan_is_refused(trainer_of):
    for _ in trainer_of(plan(steps=2)).steps():
        pass
    with pytest.raises(LaMoFCBenchError, match="another lmbda, steps"):
        trainer_of(plan(steps=4, lmbda=0.02))


def test_a_damaged_checkpoint_is_refused(trainer_of, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "network.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(LaMoFCBenchError, match="is damaged"):
        trainer_of(plan())


@pytest.fixture
def fresh_accelerator():
    """Accelerate keeps one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_bf16_layers_keep_entropy_models_in_full_precision(trainer_of, fresh_accelerator):
    trainer = trainer_of(plan(steps=4, precision="bf16"))
    for _ in trainer.steps():
        pass
    assert all(
        value.dtype is torch.float32 for value in trainer.network.state_dict().values() if value.is_floating_point()
    )
    assert trainer.progress.curve[-1]["loss"] > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains_on_a_gpu(precision, trainer_of, fresh_accelerator):
    trainer = trainer_of(plan(precision=precision, device_type="cuda"))
    for _ in trainer.steps():
        pass
    assert trainer.progress.step == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 100}, "multiple of 64"),
        ({"batch_size": 3, "processes": 2}, "shared evenly"),
        ({"precision": "fp16"}, "needs a GPU"),
        ({"lmbda": 0.0}, "lambda"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(LaMoFCBenchError, match=message):
        plan(**changes)


def test_padding_counts_as_bits_but_not_as_error():
    torch.manual_seed(0)
    objective = RateDistortion(NETWORKS["hyperprior"](4, 6)).eval()
    planes = torch.rand(1, 1, 64, 64)
    valid = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    valid[..., :32, :] = True
    with torch.no_grad():
        whole = objective(planes, torch.ones_like(valid))
        half = objective(planes, valid)
    assert half[0] == whole[0] and half[2] == 2048
    assert 0 < half[1] < whole[1]


@pytest.mark.parametrize(("codec", "widths"), [("hyperprior", (64, 256)), ("elic", (64, 256))])
def test_networks_start_as_an_orthogonal_transform(codec, widths):
    torch.manual_seed(0)
    options = {"context_widths": (8, 8)} if codec == "elic" else {}
    network = NETWORKS[codec](*widths, **options).eval()
    start_as_block_transform(network, lmbda=0.02)
    planes = torch.randint(0, 256, (1, 1, 64, 64)) / 256
    with torch.no_grad():
        assert torch.allclose(
            network.g_s(network.g_a(planes)), planes, atol=0.05
        )  # an attention's gate is almost closed, not quite
        error = PEAK**2 * float((network(planes).reconstruction - planes).square().mean())
    assert error == pytest.approx(1 / (2 * 0.6931 * 0.02), rel=0.15)  # where the slope of the curve is lambda
