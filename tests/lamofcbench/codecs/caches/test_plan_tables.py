"""Tables of a plan: what is appended component by component comes back, for rows with and without a first one."""

import numpy as np
import pytest

from lamofcbench.codecs.caches.allocation import Part
from lamofcbench.codecs.caches.plan import Plan
from lamofcbench.codecs.caches.tables import PlanTables, learned_tables
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, least_bytes

GENERATOR = np.random.default_rng(3)
ROWS = (GENERATOR.normal(size=(400, 48)) * np.arange(1, 49) ** -0.8).astype(np.float32)
FIRST = np.arange(400) % 40 == 0


@pytest.fixture(scope="module")
def learned():
    plan = Plan((Part(2, 8, -4), Part(10, 4, 0), Part(14, 2, 0), Part(30, 4, 0), Part(46, 2, 0)))
    return plan, learned_tables(plan, 0, plan.encode(ROWS[:, : plan.components]), FIRST)


@pytest.mark.parametrize("starts", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 2, 17])
def test_rows_come_back(learned, rows, starts):
    plan, state = learned
    tables, coded = PlanTables.from_state(plan, 0, state), plan.encode(ROWS[:rows, : plan.components])
    least = least_bytes(tables.least_cost(rows, starts=starts))
    encoder = SymbolEncoder(least)
    tables.put(encoder, coded, starts=starts)
    payload = encoder.finish()
    decoder = SymbolDecoder(payload, least)
    found = tables.take(decoder, rows, starts=starts)
    decoder.finish()
    for name in ("codes", "steps", "lows"):
        assert np.array_equal(getattr(found, name), getattr(coded, name))


def test_each_component_and_scale_is_coded_with_its_own_table_one_after_the_other(learned):
    plan, state = learned
    coded = plan.encode(ROWS[:20, : plan.components])
    together, apart = SymbolEncoder(), SymbolEncoder()
    PlanTables.from_state(plan, 0, state).put(together, coded, starts=True)
    seen = dict.fromkeys((2, 4, 8), 0)
    of_component = []
    for bits in plan.bits.tolist():
        of_component.append((bits, seen[bits]))
        seen[bits] += 1
    for profile, part in ((0, slice(0, 1)), (1, slice(1, None))):
        words = np.concatenate([coded.steps[part].T, coded.lows[part].T]).view(np.uint16).astype(np.int32)
        for row, frequencies in zip(words, state["0.scales"][profile].numpy(), strict=True):
            apart.put(row >> 8, FrequencyTable(frequencies))
        apart.put_bits(words & 0xFF, 8)
        for row, (bits, number) in zip(coded.codes[part].T.astype(np.int32), of_component, strict=True):
            apart.put(row, FrequencyTable(state[f"0.codes{bits}"][profile, number].numpy()))
    assert together.finish() == apart.finish()
