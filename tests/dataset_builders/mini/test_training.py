import json

import pytest
import torch

from dataset_builders.mini import _training as training
from dataset_builders.mini.digits import _train_digits_vit as digits
from dataset_builders.mini.digits.plan import digits_plan
from dataset_builders.mini.language import _arithmetic_training as arithmetic
from dataset_builders.mini.language import _language_training as language
from dataset_builders.mini.language.arithmetic_tokenizer import make_tokenizer

STEPS = 6


def digits_trainer(checkpoints, seed=3):
    plan = training.TrainingPlan("tiny-digits", seed, STEPS, learning_rate=1e-3, warmup_steps=2)
    training.seed_everything(plan)
    model = digits.DigitsClassifier(layers=2, hidden=16, heads=2)
    return training.Trainer(
        model, plan, digits.DigitsLoss(model, digits_plan().training[:20], seed, batch_size=8), checkpoints
    )


def arithmetic_trainer(checkpoints, seed=3):
    plan = training.TrainingPlan("tiny-arithmetic", seed, STEPS, learning_rate=1e-3, warmup_steps=2)
    training.seed_everything(plan)
    tokenizer = make_tokenizer()
    model = language.make_qwen3(tokenizer, arithmetic.MAX_NEW_TOKENS, layers=2, hidden=32, heads=2)

    def loss_of_step(step):
        batch = [(problem.prompt, problem.answer) for problem in arithmetic.training_batch(seed, step, STEPS)[:4]]
        return language.answer_loss(model, *language.encode(tokenizer, batch))

    return training.Trainer(model, plan, loss_of_step, checkpoints)


@pytest.mark.parametrize("make_trainer", [digits_trainer, arithmetic_trainer])
def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(make_trainer, tmp_path):
    whole = make_trainer(None)
    progress = whole.run()
    make_trainer(tmp_path).run(stop_at=2)
    make_trainer(tmp_path).run(stop_at=5, checkpoint_every=2)
    torch.rand(7)  # what else the process draws does not matter
    resumed = make_trainer(tmp_path)
    resumed_progress = resumed.run()
    assert (resumed_progress.step, resumed_progress.loss) == (progress.step, progress.loss)
    for ours, theirs in ((resumed.average, whole.average), (resumed.model.state_dict(), whole.model.state_dict())):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    digits_trainer(tmp_path).run(stop_at=1)
    with pytest.raises(ValueError, match="belongs to another run"):
        digits_trainer(tmp_path, seed=4).run()


def test_training_changes_the_weights_and_lowers_the_rate(tmp_path):
    trainer = digits_trainer(None)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.run()
    changed = [name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])]
    assert "head.weight" in changed
    rates = [training.schedule(step, trainer.plan) for step in range(STEPS)]
    assert rates[0] < rates[1] == 1.0 and rates[-1] < rates[2]


def test_an_exported_classifier_loads_with_the_weights_rounded_to_half_precision(tmp_path):
    model = digits.DigitsClassifier()
    digits.export(model, tmp_path)
    loaded = digits.load(tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())
    assert json.loads((tmp_path / "config.json").read_text())["hidden_size"] == 96
    assert not list(tmp_path.glob(".*"))


def test_the_loss_counts_the_answer_alone():
    tokenizer = make_tokenizer()
    problem = arithmetic.problems("training", 1)[0]
    ids, labels = language.encode(tokenizer, [(problem.prompt, problem.answer)])
    counted = labels[0] != language.IGNORED
    assert tokenizer.decode(ids[0][counted], skip_special_tokens=True) == problem.answer
    assert ids[0][counted][-1] == tokenizer.eos_token_id
    assert int(counted.sum()) <= arithmetic.MAX_NEW_TOKENS


def test_failed_writes_leave_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    training.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        training.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
