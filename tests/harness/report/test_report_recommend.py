"""Operating points by budget: over results whose rates, scores and times are set by hand."""

import json

import pytest
from synthetic_results import Writer

from harness.cli import main
from harness.report.compile import compile_summary
from harness.report.recommend import Answer, OperatingPoint, Question, lines, over_links, recommend, titles
from harness.report.render import page
from harness.report.render.styles import styles_of

DIGITS, FACTS = "mini-cvu-digits", "mini-clu-facts"
VARIANT, PROSE = "mini-cvu-digits-hard-shallow", "small-clu-prose"


@pytest.fixture
def results(tmp_path):
    """Two scenarios of 4,000 raw bytes a sample; a small codec that is slow, and a fast one that is large."""
    root = tmp_path / "results"
    for scenario, weakest in ((DIGITS, 0.96), (FACTS, 0.94)):
        writer = Writer(root, scenario=scenario, samples=60, test_samples=60)
        writer.write("identity", ebpfp=32, score=1.0, lossless=True, encode_seconds=1e-5, decode_seconds=1e-5)
        writer.write("mean", ebpfp=0.01, score=0.0)
        for step, ebpfp, score in ((1.0, 2.0, 0.99), (4.0, 0.5, weakest), (16.0, 0.1, 0.3)):
            writer.write("small", ebpfp=ebpfp, score=score, params={"step": step}, encode_seconds=0.01)
        for bits, ebpfp, score in ((8, 8.0, 1.0), (4, 4.0, 0.97)):
            writer.write(
                "fast", ebpfp=ebpfp, score=score, params={"bits": bits}, encode_seconds=1e-4, decode_seconds=1e-4
            )
    return root


def _answers(results, features=None, **question):
    summary = compile_summary(results, resamples=0, bound=False)
    return {answer.features: answer for answer in recommend(summary, Question(**question), features)}


def test_one_setting_must_keep_the_task_on_every_scenario_that_it_is_for(results):
    answers = _answers(results)
    assert list(answers) == [None, "kv-cache", "hidden-state"]
    assert answers["hidden-state"].lowest_rate.codec == "small:step=4"
    assert answers["kv-cache"].lowest_rate.codec == "small:step=1"
    assert answers[None].lowest_rate.codec == "small:step=1"
    assert answers[None].lowest_rate.weakest_scenario in (DIGITS, FACTS)
    assert answers[None].scenarios == [FACTS, DIGITS]


def test_the_share_that_is_kept_is_asked_for(results):
    assert _answers(results, keep_percent=90)[None].lowest_rate.codec == "small:step=4"
    assert _answers(results, keep_percent=99.5)[None].lowest_rate.codec == "fast:bits=8"


def test_fast_is_encoding_and_decoding_together(results):
    assert _answers(results)[None].fastest.codec == "fast:bits=4"


def test_over_a_slow_link_rate_decides_and_over_a_fast_one_speed(results):
    assert _answers(results, link_mbit_per_s=0.1)[None].soonest.codec == "small:step=1"
    assert _answers(results, link_mbit_per_s=10)[None].soonest.codec == "fast:bits=4"


def test_times_are_those_of_a_sample(results):
    point = _answers(results, link_mbit_per_s=1)[None].soonest
    assert point.codec == "fast:bits=4"
    assert point.seconds == pytest.approx(1e-4 + 500 * 8 / 1e6 + 1e-4, rel=1e-3)
    assert point.speedup == pytest.approx(0.032 / point.seconds)


def test_over_a_link_that_outruns_every_codec_features_travel_uncoded(results, capsys):
    assert _answers(results, link_mbit_per_s=1e6)[None].soonest is None
    assert main(["recommend", "--results", str(results), "--link", "1000000", "--features", "kv-cache"]) == 0
    assert "uncoded" in capsys.readouterr().out


def test_a_budget_of_rate_leaves_out_what_is_above_and_names_the_nearest_where_nothing_keeps_the_task(results):
    answer = _answers(results, target_ebpfp=1)[None]
    assert (answer.lowest_rate, answer.fastest, answer.soonest) == (None, None, None)
    assert answer.nearest.codec == "small:step=4"
    assert answer.nearest.kept_scenarios == 1
    assert answer.nearest.weakest_scenario == FACTS


def test_a_budget_that_no_point_meets_names_the_nearest_that_keeps_the_task_and_by_how_much_it_misses(results):
    question = Question(target_ebpfp=0.00001, max_state_bytes=1)
    answer = recommend(compile_summary(results, resamples=0, bound=False), question)[0]
    assert answer.nearest.codec == "small:step=1"
    ((aim, _, sentences),) = lines(answer, question)
    assert aim == "nearest"
    assert sentences[0] == "no point is within the budget; here EBPFP is 2.00, 200,000 times the target of 1e-05"


def test_a_state_beyond_the_budget_is_told_with_what_is_too_much():
    point = OperatingPoint(
        codec="large", ebpfp=1, smaller=32, retention=0.9, weakest_scenario=FACTS, kept_scenarios=0,
        encode_mb_per_s=None, decode_mb_per_s=None, seconds=None, speedup=None, state_bytes=1500,
    )  # fmt: skip
    answer = Answer(
        edition="mini", features=None, scenarios=[FACTS], lowest_rate=None, fastest=None, soonest=None, nearest=point,
        uncoded_seconds=1, considered=1, over_state=["large"], not_everywhere=[], unknown=[],
    )  # fmt: skip
    ((_, _, sentences),) = lines(answer, Question(max_state_bytes=1000))
    assert sentences[:2] == [
        "no point is within the budget; here state is 1,500 bytes, 500 more than 1,000",
        "no point keeps it everywhere; this one does on 0 of 1 and lacks 5.0 points of the 95 %",
    ]


def test_state_is_that_of_the_point_and_a_codec_whose_points_all_have_too_much_is_named(tmp_path):
    writer = Writer(tmp_path, scenario=DIGITS, samples=60, test_samples=60)
    writer.anchor_and_floor()
    for points, ebpfp, state in ((16, 4.0, 512), (4, 2.0, 128)):
        writer.write("means", ebpfp=ebpfp, score=0.98, params={"points": points}, state_bytes=state)
        writer.write("net", ebpfp=ebpfp / 2, score=0.98, params={"width": points}, state_bytes=10**6)
    answer = _answers(tmp_path, max_state_bytes=300)["hidden-state"]
    assert (answer.lowest_rate.codec, answer.lowest_rate.state_bytes) == ("means:points=4", 128)
    assert answer.over_state == ["net"]


def test_a_point_that_lacks_a_scenario_is_not_one_setting_for_all(results):
    Writer(results, scenario=DIGITS, samples=60, test_samples=60).write(
        "small", ebpfp=0.2, score=0.99, params={"step": 8.0}
    )
    answers = _answers(results)
    assert answers["hidden-state"].lowest_rate.codec == "small:step=8"
    assert answers[None].lowest_rate.codec == "small:step=1"


def test_a_codec_none_of_whose_points_ran_everywhere_is_named(results, capsys):
    Writer(results, scenario=DIGITS, samples=60, test_samples=60).write("part", ebpfp=0.01, score=1.0)
    answers = _answers(results)
    assert [answers[kind].not_everywhere for kind in (None, "kv-cache", "hidden-state")] == [["part"], [], []]
    assert main(["recommend", "--results", str(results)]) == 0
    said = "Not considered, as no one setting of theirs ran on all 2: part."
    assert said in capsys.readouterr().out
    summary = compile_summary(results, resamples=0, bound=False)
    (sentence,) = over_links(recommend(summary, Question()), Question())
    assert sentence.endswith(said)


def test_variants_are_asked_about_only_where_there_is_nothing_else(results, tmp_path):
    for root in (results, tmp_path / "alone"):
        writer = Writer(root, scenario=VARIANT, samples=60, test_samples=60)
        writer.anchor_and_floor()
        writer.write("small", ebpfp=0.1, score=0.98, params={"step": 16.0})
    assert _answers(results)[None].scenarios == [FACTS, DIGITS]
    assert _answers(results)["hidden-state"].scenarios == [DIGITS]
    assert _answers(tmp_path / "alone")["hidden-state"].scenarios == [VARIANT]


def test_each_edition_has_its_own_answers(results):
    writer = Writer(results, scenario=PROSE, samples=60, test_samples=60)
    writer.anchor_and_floor()
    writer.write("small", ebpfp=0.1, score=0.98, params={"step": 16.0})
    summary, question = compile_summary(results, resamples=0, bound=False), Question()
    answers = recommend(summary, question)
    assert [(answer.edition, answer.features) for answer in answers] == [
        ("mini", None), ("mini", "kv-cache"), ("mini", "hidden-state"), ("small", "kv-cache"),
    ]  # fmt: skip
    assert answers[1].scenarios == [FACTS] and answers[-1].scenarios == [PROSE]
    assert titles(answers, question)[-1].startswith(f"kv-cache (small edition, {PROSE}): ")
    sentences = over_links(answers, question)
    assert [sentence.partition(":")[0] for sentence in sentences] == ["mini edition", "small edition"]
    assert [answer.edition for answer in recommend(summary, question, "kv-cache")] == ["mini", "small"]


def _sentences(root):
    return over_links(recommend(compile_summary(root, resamples=0, bound=False), Question()), Question())


def test_that_uncoded_features_arrive_first_is_said_only_where_a_point_keeps_the_task(tmp_path, capsys):
    writer = Writer(tmp_path, scenario=DIGITS, samples=60, test_samples=60)
    writer.write("identity", ebpfp=32, score=1.0, lossless=True)
    assert _sentences(tmp_path) == []
    assert main(["recommend", "--results", str(tmp_path)]) == 0
    assert "no codec ran" in capsys.readouterr().out
    writer.write("lossy", ebpfp=1.0, score=0.5, params={"step": 2})
    assert _sentences(tmp_path) == []
    assert main(["recommend", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "no point can be judged" in out
    assert "Not considered, as their rate or what they keep of the score is unknown: lossy." in out
    writer.write("mean", ebpfp=0.01, score=0.0)
    assert _sentences(tmp_path) == ["No one measured setting keeps 95 % of the task."]
    slow = writer.write("lossy", ebpfp=2.0, score=1.0, params={"step": 1}, encode_seconds=1.0)
    assert _sentences(tmp_path)[0].startswith("Over 10 Mbit/s no point that keeps 95 % of the task everywhere arrives")
    (slow / "timings.parquet").unlink()
    assert _sentences(tmp_path) == []


def test_the_page_says_who_is_left_out_and_why_there_is_nothing_to_take(tmp_path):
    writer = Writer(tmp_path, scenario=DIGITS, samples=60, test_samples=60)
    writer.write("identity", ebpfp=32, score=1.0, lossless=True)
    writer.write("lossy", ebpfp=1.0, score=0.5)
    summary = compile_summary(tmp_path, resamples=0, bound=False)
    shown = page.render(summary, styles_of(summary))
    assert "no point can be judged" in shown
    assert "Not considered, as their rate or what they keep of the score is unknown: lossy." in shown


def test_the_command_names_points_as_the_command_line_takes_them_within_80_columns(results, capsys):
    assert main(["recommend", "--results", str(results)]) == 0
    out = capsys.readouterr().out
    assert "lowest rate" in out
    assert "small:step=1" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_command_prints_json(results, capsys):
    assert main(["recommend", "--results", str(results), "--features", "kv-cache", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["lowest_rate"]["codec"] == "small:step=1"


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (["--keep", "0"], "--keep"),
        (["--link", "-1"], "--link"),
        (["--target-ebpfp", "0"], "--target-ebpfp"),
        (["--max-state", "ten"], "--max-state"),
        (["--features", "ssm-state"], "no results of ssm-state"),
    ],
)
def test_what_cannot_be_answered_is_one_line(results, capsys, argument, told):
    assert main(["recommend", "--results", str(results), *argument]) == 1
    assert told in capsys.readouterr().err
