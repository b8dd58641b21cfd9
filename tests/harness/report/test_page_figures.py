"""What the page draws and says: names on marks, fidelity beside score, the prompt as a reference, what is learned."""

import math
import re

import pytest
from synthetic_results import Writer

from harness.report.compile import compile_summary
from harness.report.prompts import prompt_bytes
from harness.report.render import cells, figures, overall_tables, page, scenario_tables, svg
from harness.report.render.axes import bytes_ticks, linear_axis, log_axis, rate_axis
from harness.report.render.labels import placed
from harness.report.render.styles import style_at, styles_of
from harness.report.summary import Estimate
from lamofcbench.scenarios.base import SCENARIOS


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    for scenario in ("mini-clu-facts", "mini-cvu-digits"):
        writer = Writer(root, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        writer.write("first", ebpfp=1.0, score=0.98, trained_on="calibration")
        writer.write("second", ebpfp=4.0, score=0.98)
    return compile_summary(root, resamples=20, bound=False)


@pytest.fixture(scope="module")
def html(summary):
    return page.render(summary, styles_of(summary))


def test_names_stand_beside_marks_and_never_on_each_other():
    marks = [(100.0 + 3 * n, 100.0, f"codec-{n}") for n in range(30)]
    labels = placed(marks, 440, 286)
    assert 3 <= len(labels) < 30
    boxes = [(label.x, label.y - 9, label.x + 6 * len(label.text), label.y + 2) for label in labels]
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= 440
        for other_left, other_top, other_right, other_bottom in boxes[:number]:
            apart = right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
            assert apart


@pytest.mark.parametrize(
    ("ys", "anchor"), [([0.9, 0.5, 0.1], "start"), ([0.5, 0.008, 0.008], "end"), ([0.5, 0.3, 0.01], "start")]
)
def test_the_name_of_a_bound_stands_where_the_bound_does_not_run(ys, anchor):
    limit = figures.Limit([0.01, 0.012, 16.0], ys, "Gaussian bound", True)
    panel = figures.Panel("", rate_axis([0.01, 32.0]), log_axis("", [0.01, 1.0]), limits=[limit])
    (name,) = re.findall(r"<text[^>]*limit-name[^>]*>", svg.render(panel, {}, "clip"))
    assert f'text-anchor="{anchor}"' in name


@pytest.mark.parametrize(
    "values",
    [
        [1.7e308, -1.7e308],
        [5e-324, 0.0],
        [5e-324, 1.7e308],
        [1.7e308, 1.7e308],
        [math.nan, 1.0, math.inf, -math.inf],
        [math.nan],
    ],
)
def test_axes_hold_whatever_values_there_are(values):
    rates = [abs(value) for value in values]
    for axis in (linear_axis("", values), log_axis("", rates), rate_axis(rates)):
        ends = [axis.place(end) for end in (axis.low, axis.high)]
        assert axis.low < axis.high and ends == pytest.approx([0.0, 1.0]) and len(axis.ticks) <= 12
        assert all(math.isfinite(tick) for tick, _ in axis.ticks)
        for factor in (5e-324, 1.0, 1.7e308):
            assert all(math.isfinite(tick) for tick, _ in bytes_ticks(rate_axis(rates), factor))
    marks = [figures.Mark(rate, value, "") for rate, value in zip(rates, values, strict=True) if math.isfinite(value)]
    panel = figures.Panel("", rate_axis(rates), linear_axis("", values), [figures.Series("a", marks)])
    assert not re.search(r"nan|inf", svg.render(panel, {"a": style_at(0)}, "clip"))


def test_what_a_figure_counts_does_not_widen_its_column(summary):
    (row, *others) = summary.overall
    some = row.model_copy(update={"bound_scenarios": 1, "bound_gap": Estimate(value=2.0, low=1.0, high=3.0)})
    html = page.render(summary.model_copy(update={"overall": [some, *others]}), styles_of(summary))
    assert '2.00 <span class="interval">[1.00, 3.00]</span> <span class="interval">(1 of 2)</span>' in html


def test_the_overall_figure_names_its_codecs(html):
    figure = html[html.index("Compression and decode speed") :].partition("</svg>")[0]
    assert all(re.search(rf">{name}</text>", figure) for name in ("first", "second"))


def test_a_scenario_of_text_shows_what_the_prompt_itself_would_take(summary, html):
    facts, digits = summary.scenarios
    assert facts.prompt_bytes_per_sample is not None and digits.prompt_bytes_per_sample is None
    assert html.count("The dotted upright line is the prompt itself") == 1
    [reference] = figures.score_panel(facts).references
    assert reference.x == pytest.approx(32 * facts.prompt_bytes_per_sample / facts.raw_bytes_per_sample)
    assert figures.score_panel(digits).references == []


def test_tokens_are_counted_where_a_state_of_fixed_size_stands_beside():
    mamba = SCENARIOS.get("mini-clu-facts-mamba")
    whole = {spec.name: [size for size in spec.shape if isinstance(size, int)] for spec in mamba.specs.tensors}
    ragged = [spec.name for spec in mamba.specs.tensors if len(whole[spec.name]) < len(spec.shape)]
    (hidden,) = ragged
    fixed = sum(math.prod(sizes) for name, sizes in whole.items() if name != hidden)
    assert prompt_bytes(mamba, fixed + 20 * math.prod(whole[hidden])) == 40


def test_fidelity_is_drawn_where_responses_are_known(summary):
    scenario = summary.scenarios[0]
    assert figures.fidelity_panel(scenario) is None
    codec, *others = scenario.codecs
    points = [point.model_copy(update={"divergence_nats": Estimate(value=0.2)}) for point in codec.points]
    known = scenario.model_copy(update={"codecs": [codec.model_copy(update={"points": points}), *others]})
    panel = figures.fidelity_panel(known)
    assert [mark.y for mark in panel.series[0].marks] == [0.2] and panel.levels[0].y == 0.03


def test_what_a_codec_has_learned_stands_beside_its_rank(summary):
    for table in (overall_tables.overall_table(summary), scenario_tables.headline_table(summary)):
        names = [column.name for column in table.columns]
        assert names.index("state") - names.index("in class") == 1 and "trained on" in names


def test_no_bars_are_promised_that_are_not_there(html, summary):
    joined = [c.model_copy(update={"points": [_joined(p) for p in c.points]}) for c in summary.scenarios[0].codecs]
    part = summary.scenarios[0].model_copy(update={"codecs": joined})
    alone = summary.model_copy(update={"scenarios": [part]})
    assert "its share of the payload" in html
    assert "its share of the payload" not in page.render(alone, styles_of(alone))


def _joined(point):
    return point.model_copy(update={"tensors": [t.model_copy(update={"payload_share": None}) for t in point.tensors]})


def test_the_table_of_rate_points_has_what_fits_a_page(summary):
    table = cells.without(scenario_tables.points_table(summary.scenarios[0]), "BPFP", "MSE")
    names = [column.name for column in table.columns]
    assert "NMSE" in names and not {"BPFP", "MSE"} & set(names)
    assert all(len(row) == len(names) for row in table.rows)
