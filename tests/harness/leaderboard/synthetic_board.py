"""Boards of any size with made-up figures, for tests of the page and a measure of its size."""

import random

from harness.leaderboard.board import Board, BoardScenario, CurvePoint, Edition, LeftOut, Rate, Row
from harness.leaderboard.compile import EDITIONS, _ranked
from lamofcbench.codecs.knowledge import CLASSES
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.scenarios.kinds import kind_of

LEVELS = ("verified", "consistent", "not verified")


def board(codecs=12, editions=EDITIONS[:2], points=8, **fields):
    """A board of codecs ``codec-0``, ``codec-1``, ..., the lower the better.

    Args:
        codecs: how many.
        editions: whose declared scenarios are on it.
        points: of each curve.
        fields: of the first row of each edition.
    """
    found = [_edition(name, codecs, points, fields) for name in editions]
    return Board(
        lamofcbench_version="0.0.0",
        protocol_version=0,
        source="org/results@0123456789abcdef0123456789abcdef01234567",
        confidence=0.95,
        editions=found,
        refused=[LeftOut(what="too-good", reason="its bytes do not decode to what was scored")],
    )


def _edition(name, codecs, points, fields):
    declared = [scenario for scenario in SCENARIOS if scenario.edition == name]
    rows = [_row(number, declared, points) for number in range(codecs)]
    rows[0] = rows[0].model_copy(update=fields)
    scenarios = [
        BoardScenario(
            id=scenario.id,
            title=scenario.title,
            category=scenario.category,
            features=kind_of(scenario.specs),
            variant_of=scenario.variant_of,
            metric=scenario.metric,
            direction="up",
            samples=256,
            version=scenario.version,
            data_revision="0123456789abcdef",
            raw_bytes_per_sample=65536.0,
            anchor=0.95,
            floor=0.1,
        )
        for scenario in declared
    ]
    return Edition(name=name, percent=95, scenarios=scenarios, rows=_ranked(rows))


def _row(number, declared, points):
    draw = random.Random(number)

    def rate(factor=1.0):
        value = round((0.5 + 0.25 * number) * factor, 3)
        return Rate(value=value, low=round(0.95 * value, 3), high=round(1.05 * value, 3))

    def curve():
        steps = [2 ** (at + draw.randrange(5) / 4) for at in range(points)]
        return [
            CurvePoint(
                label=f"step={step:.3g} table={number}",
                ebpfp=float(f"{0.03 * step * (1 + number / 8):.4g}"),
                score=float(f"{0.95 - 0.8 / (1 + step):.4g}"),
            )
            for step in steps
        ]

    return Row(
        codec=f"codec-{number}",
        name=f"codec-{number}",
        organisation=f"Institute {number % 7}",
        link=f"https://example.org/codecs/{number}",
        commit=f"{number:040x}",
        licence="Apache-2.0",
        submission=f"codec-{number}",
        level=LEVELS[number % 3],
        not_replayed=[scenario.id for scenario in declared] if number % 3 == 2 else [],
        checked_on="2026-01-01",
        trained_on=CLASSES[number % len(CLASSES)],
        state_bytes=1000 * number,
        encode_mb_per_s=float(100 - number),
        decode_mb_per_s=float(50 + (7 * number) % 11),
        overall=rate(),
        categories={scenario.category: rate(1.1) for scenario in declared},
        kinds={kind_of(scenario.specs): rate(0.9) for scenario in declared},
        scenarios={scenario.id: rate(draw.uniform(0.5, 2)) for scenario in declared},
        curves={scenario.id: curve() for scenario in declared},
    )
