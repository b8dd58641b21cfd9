"""What a name on the command line selects."""

import pytest

from harness.running import selection
from harness.running.selection import select_codecs, select_scenarios
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import LaMoFCBenchError, UnknownNameError
from lamofcbench.scenarios.base import SCENARIOS


@pytest.mark.parametrize("edition", ["mini", "full"])
def test_an_edition_is_its_tracks_without_their_variants(edition):
    chosen = select_scenarios([edition])
    assert chosen == [s for s in SCENARIOS if s.edition == edition and s.variant_of is None]
    assert any(s.edition == edition and s.variant_of is not None for s in SCENARIOS)


def test_the_full_edition_selects_21_tracks():
    assert len(select_scenarios(["full"])) == 21


def test_a_variant_runs_where_it_is_named():
    assert [s.id for s in select_scenarios(["ctti-coco-canny-latent"])] == ["ctti-coco-canny-latent"]
    assert len(select_scenarios(["full,ctti-coco-canny-latent"])) == 22


def test_scenarios_are_selected_once_in_the_order_named():
    assert [s.id for s in select_scenarios(["clu-gsm8k", "cvu-nyuv2,clu-gsm8k"])] == ["clu-gsm8k", "cvu-nyuv2"]


def test_wrong_and_missing_names_are_one_clear_line():
    with pytest.raises(UnknownNameError, match="did you mean"):
        select_scenarios(["clu-gsm8"])
    with pytest.raises(LaMoFCBenchError, match="no scenario is named"):
        select_scenarios([","])


def test_all_codecs_are_those_that_run_here_without_anchor_and_floor(monkeypatch, caplog):
    missing = CODECS.get("kmeans")
    monkeypatch.setattr(missing, "unavailable", classmethod(lambda cls: "it needs the package points"))
    selection._runnable_codecs.cache_clear()
    scenario = SCENARIOS.get("mini-cvu-digits")
    chosen = {codec.name for _ in range(2) for codec in select_codecs(["all"], scenario, points=1)}
    selection._runnable_codecs.cache_clear()
    expected = {c.name for c in CODECS if c.unavailable() is None}
    assert chosen == expected - {"identity", "mean", "kmeans"}
    assert [m for m in caplog.messages if "points" in m] == ["kmeans is left out: it needs the package points"]
