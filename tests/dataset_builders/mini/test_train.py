import pytest

from dataset_builders.mini import train
from dataset_builders.mini._files import WEIGHTS


def test_every_shipped_model_has_a_training_and_every_training_a_shipped_model():
    shipped = {folder.name for folder in WEIGHTS.iterdir() if folder.is_dir()}
    assert set(train.training_modules()) == shipped


def test_a_model_is_named_or_all_are():
    models = train.training_modules()
    assert train.parse_arguments(models, ["--all"]).models == list(models)
    assert train.parse_arguments(models, ["digits-vit", "--seed", "2"]).models == ["digits-vit"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "name the models"), (["--all", "digits-vit"], "name the models"), (["digit-vit"], "digits-vit")],
)
def test_wrong_names_get_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit):
        train.parse_arguments(train.training_modules(), arguments)
    assert message in capsys.readouterr().err


def test_a_training_runs_and_writes_where_it_is_told(tmp_path):
    train.main(["digits-vit", "--steps", "2", "--output", str(tmp_path / "w"), "--checkpoints", str(tmp_path / "c")])
    assert (tmp_path / "w" / "digits-vit" / "training.json").exists()
    assert (tmp_path / "c" / "digits-vit.pt").exists()
