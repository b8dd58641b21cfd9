"""The scan that trains Falcon-Mamba is the library's: same outputs, same gradients, also in models and with masks."""

import pytest
import torch
from torch.autograd import gradcheck

from dataset_builders.mini import _training as training
from dataset_builders.mini.language import _mamba_scan as mamba_scan
from dataset_builders.mini.language._arithmetic_training import training_batch
from dataset_builders.mini.language._language_training import answer_loss, encode
from dataset_builders.mini.language._mamba_model import make_mamba
from dataset_builders.mini.language.arithmetic_tokenizer import make_tokenizer
from lamofcbench.models.selective_scan import recurrence

TIMES, SAMPLES, CHANNELS, STATES = 6, 5, 3, 2
STEPS = 6


def arguments(dtype=torch.float64):
    """Inputs, steps, rates, writes and reads, which all want gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(TIMES, SAMPLES, CHANNELS)] * 2 + [(STATES, CHANNELS)] + [(TIMES, SAMPLES, STATES)] * 2
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    tensors[1] = tensors[1].exp()
    tensors[2] = -tensors[2].exp()
    return [tensor.requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("samples_at_once", [1, 2, SAMPLES, 64])
def test_gradients_are_those_of_finite_differences(samples_at_once, monkeypatch):
    monkeypatch.setattr(mamba_scan, "SAMPLES_AT_ONCE", samples_at_once)
    assert gradcheck(lambda *tensors: mamba_scan.ScanFunction.apply(*tensors)[0], arguments())


def test_the_forward_pass_is_the_adapters():
    given = arguments(torch.float32)
    for ours, theirs in zip(mamba_scan.ScanFunction.apply(*given), recurrence(*given), strict=True):
        assert torch.equal(ours, theirs)


def tiny_model(dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    model = make_mamba(make_tokenizer(), 4, layers=3, hidden=16, states=4).to(dtype).train()
    with torch.no_grad():  # the library leaves this bias at zero, where padding would do no harm
        for layer in model.backbone.layers:
            layer.mixer.conv1d.bias.normal_()
    return model


def outputs_and_gradients(model, mask):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 200, mask.shape, generator=generator)
    model.zero_grad()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    weights = torch.randn(logits.shape, generator=generator)
    (logits * weights * mask[..., None]).sum().backward()
    return [logits, *(parameter.grad for parameter in model.parameters())]


MASKS = {
    "none": torch.ones(4, 12, dtype=torch.int64),
    "left": torch.tensor([[0] * n + [1] * (12 - n) for n in (0, 3, 9, 11)]),
    "right": torch.tensor([[1] * (12 - n) + [0] * n for n in (0, 3, 9, 11)]),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_models_have_the_librarys_logits_and_gradients(mask):
    """fp32, relative to the largest entry of each tensor; the library's own order of sums is no better."""
    model = tiny_model()
    expected = outputs_and_gradients(model, mask)
    with mamba_scan.trainable_scan():
        found = outputs_and_gradients(model, mask)
    for ours, theirs in zip(found, expected, strict=True):
        largest = theirs.detach().abs().max().item()
        assert largest > 0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5 * largest)


def test_padding_on_the_right_needs_no_mask():
    model = tiny_model()
    ids = torch.randint(4, 200, (2, 9), generator=torch.Generator().manual_seed(1))
    padded = torch.cat([ids, torch.zeros(2, 5, dtype=torch.int64)], dim=1)
    with mamba_scan.trainable_scan(), torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).logits
        torch.testing.assert_close(model(input_ids=padded, use_cache=False).logits[:, :9], expected)


def tiny_trainer(checkpoints):
    plan = training.TrainingPlan("tiny-mamba", 3, STEPS, learning_rate=1e-3, warmup_steps=2)
    training.seed_everything(plan)
    model, tokenizer = tiny_model(), make_tokenizer()

    def loss_of_step(step):
        batch = [(problem.prompt, problem.answer) for problem in training_batch(plan.seed, step, STEPS, 2)]
        return answer_loss(model, *encode(tokenizer, batch))

    return training.Trainer(model, plan, loss_of_step, checkpoints)


def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(tmp_path):
    with mamba_scan.trainable_scan():
        whole = tiny_trainer(None)
        progress = whole.run()
        tiny_trainer(tmp_path).run(stop_at=3)
        resumed = tiny_trainer(tmp_path)
        assert resumed.run().loss == progress.loss
    for ours, theirs in ((resumed.average, whole.average), (resumed.model.state_dict(), whole.model.state_dict())):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
