"""The page in a browser: sorting, filters, curves, links, addresses that are shared, a Space's frame, hostile text."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from synthetic_board import board

from harness.leaderboard.board import CurvePoint
from harness.leaderboard.page import render
from harness.leaderboard.write import write_board
from harness.report.text import NOTHING

BY_CSS = "css selector"
HOSTILE = '</script><script>window.hit=1</script><img src=x onerror="window.hit=2">'
RANKS = ["1", "2", NOTHING, "3", "4", NOTHING, "5", "6", NOTHING, "7", "8", NOTHING]
"""Every third codec's submission is not verified."""
SPACE = "org-board.static.hf.space/index.html"
PARENT = """<!DOCTYPE html><title>the Hub's page of a Space</title><iframe width=1200 height=900></iframe><script>
addEventListener("message", function (event) {
  window.told = (window.told || []).concat([[event.origin, event.data]]);
  var url = new URL(location.href);
  url.search = event.data.queryString;
  url.hash = event.data.hash;
  history.replaceState(null, "", url);
});
document.querySelector("iframe").src = "https://SPACE" + location.search + location.hash;
</script>""".replace("SPACE", SPACE)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a board of twelve codecs on two editions, on disk."""
    page, *_ = write_board(board(), tmp_path_factory.mktemp("board"))
    return page.as_uri()


@pytest.fixture
def page(browser, address):
    """The browser with the board open; nothing is asked for, and nothing goes wrong, in any test."""
    browser.get_log("browser")
    opened(browser, address)
    yield browser
    assert browser.get_log("browser") == []
    assert _requests(browser) == []


def opened(browser, address):
    """The browser with the page open and its curves unpacked."""
    browser.get(address)
    ready(browser)


def ready(browser):
    waiting = (
        "const done = arguments[0]; (function look() {document.querySelector('#curves[aria-busy=false]') ? done() : "
    )
    browser.execute_async_script(waiting + "setTimeout(look, 5)})()")


def _requests(browser):
    return browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")


def find(browser, selector):
    return browser.find_element(BY_CSS, selector)


def column(browser, key):
    """The texts of a column, from the top."""
    return browser.execute_script(
        "const heads = [...document.querySelectorAll('#board thead button')];"
        "const at = heads.findIndex(head => head.dataset.sort === arguments[0]);"
        "return [...document.querySelectorAll('#board tbody tr')].map(row => row.cells[at].innerText)",
        key,
    )


def names(browser):
    """The codecs in the order of the table."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#board tbody input')].map(box => box.dataset.codec)"
    )


def choose(browser, name, value):
    browser.execute_script(
        "const field = document.querySelector('form.controls').elements[arguments[0]]; field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}))",
        name,
        value,
    )


def tick(browser, codec):
    find(browser, f"input[data-codec='{codec}']").click()


def query(browser):
    return parse_qs(urlsplit(browser.current_url).query)


# ---------------------------------------------------------------------------------------------------------- the table


def test_the_best_stand_first_with_interval_ranks_class_state_speeds_level_code_and_commit(page):
    cells = find(page, "#board tbody tr").text
    for text in (
        "codec-0", "Institute 0", "0.500", "[0.475, 0.525]", "nothing", "verified", "2026-01-01", "100", "50.0",
        "example.org", "0000000000", "Apache-2.0",
    ):  # fmt: skip
        assert text in cells, text
    assert names(page) == [f"codec-{number}" for number in range(12)]
    assert column(page, "rank") == RANKS
    classes = ["1", "1", NOTHING, "1", "2", NOTHING, "1", "2", NOTHING, "2", "2", NOTHING]  # four in turn
    assert column(page, "class-rank") == classes
    assert find(page, "caption").text.startswith("mini edition, Overall, 21 scenarios")


@pytest.mark.parametrize(
    ("level", "scenarios", "said"),
    [
        ("consistent", 25, "○consistent, not replayed"),
        ("consistent", 1, "○consistent, not replayed on 1 of 25 scenarios"),
        ("not verified", 25, f"{NOTHING}not verified"),
    ],
)
def test_what_is_not_replayed_says_so(browser, tmp_path, level, scenarios, said):
    ids = [scenario.id for scenario in board().editions[0].scenarios]
    page, *_ = write_board(board(codecs=2, level=level, not_replayed=ids[:scenarios]), tmp_path)
    opened(browser, page.as_uri())
    assert column(browser, "level")[0].splitlines()[0] == said


def test_figures_that_round_to_a_thousand_have_no_exponent_and_the_next_unit(browser, tmp_path):
    figures = {"state_bytes": 999_600, "encode_mb_per_s": 999.7, "decode_mb_per_s": 999.4}
    page, *_ = write_board(board(codecs=2, **figures), tmp_path)
    opened(browser, page.as_uri())
    shown = [column(browser, key)[0] for key in ("state", "encode", "decode")]
    assert shown == ["1.00 MB", "1,000", "999"]
    assert column(browser, "state")[1] == "1.00 kB"


def test_a_head_sorts_up_and_down_and_says_so(page):
    find(page, "button[data-sort='decode']").click()
    speeds = [float(text) for text in column(page, "decode")]
    assert speeds == sorted(speeds) and speeds[0] < speeds[-1]
    assert find(page, "th:has([data-sort='decode'])").get_attribute("aria-sort") == "ascending"
    page.switch_to.active_element.send_keys("\ue007")  # Enter: the head kept the focus
    assert [float(text) for text in column(page, "decode")] == speeds[::-1]
    assert find(page, "th:has([data-sort='decode'])").get_attribute("aria-sort") == "descending"
    assert find(page, "#status").text == "12 of 12 codecs, sorted by decode MB/s, descending"


def test_filters_by_class_level_and_words(page):
    choose(page, "class", "tail")
    assert names(page) == ["codec-2", "codec-6", "codec-10"]
    choose(page, "level", "consistent")
    assert names(page) == ["codec-6", "codec-10"]
    choose(page, "find", "institute 3")
    assert names(page) == ["codec-10"]
    choose(page, "find", "nobody")
    assert names(page) == [] and "No codec fits" in find(page, "#board tbody").text
    find(page, "button[type=reset]").click()
    assert len(names(page)) == 12 and not query(page)


def test_editions_are_groups_of_their_own_and_any_figure_ranks(page):
    find(page, "input[value=small]").click()
    assert find(page, "caption").text.startswith("small edition")
    find(page, "input[value=mini]").click()
    groups = [group.get_attribute("label") for group in page.find_elements(BY_CSS, "select[name=by] optgroup")]
    assert groups == ["Categories", "Kinds of features", "Scenarios"]
    choose(page, "by", "scenario:mini-cvu-depth")
    rates = [float(text.split("\n")[0]) for text in column(page, "rate")]
    assert rates == sorted(rates)
    assert sorted(column(page, "rank")) == sorted(RANKS)
    choose(page, "beside", "kinds")
    assert "KV caches" in find(page, "#board thead").text


# --------------------------------------------------------------------------------------------------------------- curves


def test_curves_of_chosen_codecs_stand_side_by_side_and_as_a_table(page):
    choose(page, "by", "scenario:mini-clu-facts")
    tick(page, "codec-1")
    tick(page, "codec-4")
    assert len(page.find_elements(BY_CSS, "#figures figure")) == 1
    assert len(page.find_elements(BY_CSS, "#figures .series")) == 2
    marks = page.find_elements(BY_CSS, "#figures .series.c0 path title")
    assert len(marks) == 8
    assert re.match(r"codec-1 step=\S+ table=1: EBPFP [\d.]+, score 0\.\d+", marks[0].get_attribute("textContent"))
    assert [item.text.split("\n")[0] for item in page.find_elements(BY_CSS, "#legend li")] == ["codec-1", "codec-4"]
    assert len(page.find_elements(BY_CSS, "#points tbody tr")) == 16
    find(page, "#legend button").click()
    assert len(page.find_elements(BY_CSS, "#figures .series")) == 1
    choose(page, "by", "category:CVU")
    figures = [figure.text for figure in page.find_elements(BY_CSS, "#figures figcaption")]
    assert len(figures) > 1 and all(name.startswith("mini-cvu-") for name in figures)


def test_as_many_codecs_can_be_chosen_as_there_are_colours(page):
    choose(page, "by", "scenario:mini-clu-facts")
    for number in range(8):
        tick(page, f"codec-{number}")
    assert not find(page, "input[data-codec='codec-8']").is_enabled()
    colours = {group.get_attribute("class") for group in page.find_elements(BY_CSS, "#legend .series")}
    shapes = {path.get_attribute("d") for path in page.find_elements(BY_CSS, "#legend .series path")}
    assert len(colours) == len(shapes) == 8  # colour is never all that tells two apart


# --------------------------------------------------------------------------------------------------- addresses, links


def test_an_address_that_is_shared_opens_the_same_view(page):
    find(page, "input[value=small]").click()
    choose(page, "class", "calibration")
    find(page, "button[data-sort='decode']").click()
    tick(page, "codec-5")
    seen = [find(page, selector).text for selector in ("#board", "#status", "#legend", "#figures")]
    shared = page.current_url
    page.get("about:blank")
    opened(page, shared)
    assert [find(page, selector).text for selector in ("#board", "#status", "#legend", "#figures")] == seen
    assert find(page, "select[name=class]").get_attribute("value") == "calibration"
    assert page.current_url == shared


def test_an_address_that_asks_for_what_is_not_there_shows_the_usual_view(browser, address):
    opened(browser, f"{address}?edition=%3Cb%3E&by=kind:none&codec=stranger&sort=__proto__&order=x&class=%00&level=7")
    assert find(browser, "#status").text == "0 of 12 codecs, sorted by EBPFP@95, ascending"
    assert browser.get_log("browser") == []


def test_a_link_leads_to_the_code_in_a_window_of_its_own(page, local_sites):
    local_sites["example.org/codecs/0"] = "<title>code</title>"
    link = find(page, "#board td.code a")
    assert "noopener" in link.get_attribute("rel") and "codec-0" in link.get_attribute("aria-label")
    first = page.current_window_handle
    link.click()
    other = next(handle for handle in page.window_handles if handle != first)
    page.switch_to.window(other)
    try:
        assert page.current_url == "https://example.org/codecs/0"
        assert page.execute_script("return window.opener") is None
    finally:
        page.close()
        page.switch_to.window(first)


def test_within_a_space_the_parent_is_told_query_and_hash(browser, local_sites):
    local_sites[SPACE] = render(board())
    local_sites["huggingface.co/spaces/org/board"] = PARENT
    browser.get("https://huggingface.co/spaces/org/board")
    browser.switch_to.frame(find(browser, "iframe"))
    choose(browser, "class", "tail")
    tick(browser, "codec-2")
    find(browser, "a[href='#curves']").click()
    own = browser.execute_script("return location.search + location.hash")
    assert own == "?class=tail&codec=codec-2#curves"
    browser.switch_to.default_content()
    assert browser.current_url == f"https://huggingface.co/spaces/org/board{own}"
    told = browser.execute_script("return window.told")
    assert told[-1] == [
        f"https://{SPACE.partition('/')[0]}",
        {"queryString": "class=tail&codec=codec-2", "hash": "#curves"},
    ]
    browser.refresh()  # the Hub hands query and hash on to the frame when it loads
    browser.switch_to.frame(find(browser, "iframe"))
    assert names(browser) == ["codec-2", "codec-6", "codec-10"]
    assert find(browser, "#legend").text.startswith("codec-2")
    browser.switch_to.default_content()


def test_another_parent_than_the_hub_is_told_nothing(browser, local_sites):
    local_sites[SPACE] = render(board())
    local_sites["elsewhere.example/"] = PARENT
    browser.get("https://elsewhere.example/")
    browser.switch_to.frame(find(browser, "iframe"))
    choose(browser, "class", "tail")
    assert names(browser) == ["codec-2", "codec-6", "codec-10"]
    browser.switch_to.default_content()
    assert browser.execute_script("return window.told || null") is None
    browser.get_log("browser")  # the browser says that the message went nowhere


# --------------------------------------------------------------------------------------------- anyone, on any screen


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_no_width_of_screen_makes_the_page_itself_scroll_sideways(page, width):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        tick(page, "codec-0")
        wide = page.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide[0] == wide[1] and 0 <= width - wide[0] < 20  # a bar to scroll down takes the rest
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_screens_get_a_dark_page(page):
    seen = {}
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        seen[scheme] = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert seen == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 26)"}


def test_the_keyboard_reaches_everything_and_every_control_has_a_name(page):
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = ("button", "link", "checkbox", "radio", "combobox", "searchbox", "table", "region")
    controls = [node for node in nodes if node.get("role", {}).get("value") in roles and not node["ignored"]]
    assert len(controls) > 40
    assert [node for node in controls if not node.get("name", {}).get("value", "").strip()] == []
    find(page, "body").send_keys("\ue004")  # Tab
    assert page.switch_to.active_element.text == "To the table"
    box = find(page, "input[data-codec='codec-3']")
    box.send_keys(" ")
    assert query(page) == {"codec": ["codec-3"]}
    assert page.switch_to.active_element.get_attribute("data-codec") == "codec-3"


# ---------------------------------------------------------------------------------------------------------- the hostile


def test_hostile_names_stay_text(browser, tmp_path):
    fields = {"codec": HOSTILE, "organisation": "<b>bold</b> &amp;", "licence": "{{ 7 * 7 }}", "submission": "x"}
    made = board(codecs=2, **fields, link="javascript:window.hit=3")
    made.refused[0].__dict__["reason"] = HOSTILE
    page, *_ = write_board(made, tmp_path)
    browser.get_log("browser")
    opened(browser, page.as_uri())
    browser.find_elements(BY_CSS, "#board tbody input")[0].click()
    assert names(browser)[0] == HOSTILE
    text = find(browser, "#board tbody tr").text
    assert HOSTILE in text and "<b>bold</b> &amp;" in text and "{{ 7 * 7 }}" in text
    assert HOSTILE in find(browser, "#legend").text and HOSTILE in find(browser, "#absent").text
    assert browser.find_elements(BY_CSS, "#board tbody tr:first-child a, #board b, img") == []
    assert browser.execute_script("return window.hit || null") is None
    assert browser.get_log("browser") == []


def test_points_far_beyond_a_figure_make_no_absurd_coordinates(browser, tmp_path):
    made = board(codecs=3)
    *_, last = made.editions[0].rows
    far = [CurvePoint(label="far", ebpfp=rate, score=score) for rate, score in ((1e-14, -1e15), (1e14, 1e15))]
    curves = {**last.curves, "mini-clu-facts": far}
    rows = [*made.editions[0].rows[:-1], last.model_copy(update={"curves": curves})]
    editions = [made.editions[0].model_copy(update={"rows": rows})]
    page, *_ = write_board(made.model_copy(update={"editions": editions}), tmp_path)
    browser.get_log("browser")
    opened(browser, page.as_uri())
    choose(browser, "by", "scenario:mini-clu-facts")
    tick(browser, last.codec)
    points = find(browser, "#figures .series polyline").get_attribute("points")
    assert last.level == "not verified" and points == "-318.0,538.0 804.0,-218.0"
    assert browser.get_log("browser") == []


def test_the_data_cannot_leave_their_element_and_the_script_writes_no_markup():
    made = board(codecs=2, codec=HOSTILE)
    page = render(made)
    assert page.count("<script") == page.count("</script") == 3
    script = page.rpartition("<script>")[2]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script)
    assert "default-src &#39;none&#39;" in page


def test_the_page_asks_for_nothing(page, local_sites):
    before = len(local_sites.asked)
    page.refresh()
    assert _requests(page) == [] and len(local_sites.asked) == before


def test_a_hundred_codecs_on_all_editions_take_less_than_a_megabyte():
    page = render(board(codecs=100, editions=("mini", "small", "full")))
    assert len(page.encode()) < 1_000_000
