"""Ladders: the rate points of a codec on a scenario, laid out by calibration scores and one rule for every codec.

The rate parameter runs over a grid, by factors of the square root of two or, where it is a logarithm already such as
QP or decibels, by steps that the codec states (`Codec.rate_step`). From the middle of the codec's own ladder the grid
is walked towards higher rates until more than 99.5 % of the score is kept, and towards lower ones until less than 90 %
is, or until nothing changes any more. Where that gives few points, one is put between each two. Calibration samples are
few and another draw than test samples, so the ladder goes on for `SPARE_POINTS` at both ends. Test samples have no say.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.results.scoring import code_of, make_metric
from harness.results.store import NAMED, OWN_LADDER, canonical_json
from harness.running.calibration_scores import CalibrationScore
from lamofcbench.atomic import write_json
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.params import to_plain
from lamofcbench.errors import CodecError, DataError
from lamofcbench.identity import identity_of
from lamofcbench.scenarios.base import Scenario

RULE = 2
"""Raised when the same scores would give another ladder."""
HIGHEST_RETENTION, LOWEST_RETENTION = 0.995, 0.9
MOST_POINTS = 24
"""On either side of the middle."""
LEAST_POINTS = 5
End = Literal["highest", "lowest"]
"""Of a ladder: its rates."""
SPARE_POINTS: Mapping[End, int] = {"highest": 2, "lowest": 1}
"""So many points beyond the first that is out of the range: test samples may need them, above all to keep the score."""
_SIDES: Mapping[End, tuple[int, Callable[[float], bool]]] = {
    "highest": (-1, lambda retention: retention > HIGHEST_RETENTION),
    "lowest": (1, lambda retention: retention < LOWEST_RETENTION),
}
"""Where on the grid each end lies, and what retention is beyond it."""
_DIGITS = 4
MAX_FILE_BYTES = 2**20


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LadderPoint(_Strict):
    """A rate point and what it came to on calibration samples."""

    params: dict[str, Any]
    ebpfp: float = Field(gt=0)
    score: float
    retention: float


class Ladder(_Strict):
    """The rate points of a codec on a scenario: what a ladder file holds."""

    schema_version: Literal[1] = 1
    rule: int = RULE
    codec: str
    codec_identity: str
    parameter: str
    identity: dict[str, Any] = Field(description="of the scenario, its data, and how many samples were scored")
    points: list[LadderPoint] = Field(min_length=1, description="from the highest rate to the lowest")
    open_ends: list[End] = Field(description="ends at which the parameter ran out before retention left the range")
    seen: list[LadderPoint] = Field(default_factory=list, description="all that was measured, in that order")
    complete: bool = Field(default=True, description="false of one that was interrupted; the same command goes on")

    @property
    def digest(self) -> str:
        """16 hex digits over everything that the file holds."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def rate_parameter(codec_class: type[Codec]) -> str:
    """The one parameter in which a codec's own rate points differ.

    Raises:
        CodecError: if there is none or several, or it is no number.
    """
    points = list(codec_class.rate_points)
    names = {name for point in points for name in point}
    varying = sorted(name for name in names if len({repr(point.get(name)) for point in points}) > 1)
    if len(varying) != 1:
        what = f"differ in {' and '.join(varying)}" if varying else "are a single one"
        raise CodecError(f"codec {codec_class.name!r} has no one rate parameter: its rate points {what}; name points")
    (name,) = varying
    if not all(isinstance(point.get(name), (int, float)) for point in points):
        raise CodecError(f"codec {codec_class.name!r}: rate parameter {name!r} is no number in every rate point")
    return name


class Grid:
    """The values of a rate parameter, by number: number 0 is the middle of the codec's own ladder.

    Numbers rise towards lower rates, which is where the last of the codec's own rate points is.

    Args:
        codec_class: whose.

    Example:
        >>> from lamofcbench.codecs.base import CODECS
        >>> grid = Grid(CODECS.get("channel"))
        >>> [grid.value(number) for number in (-2, -1, 0, 1)]
        [1.0, 1.414, 2.0, 2.828]
    """

    def __init__(self, codec_class: type[Codec]) -> None:
        self.name = rate_parameter(codec_class)
        points = list(codec_class.rate_points)
        first, middle, last = (points[at][self.name] for at in (0, len(points) // 2, -1))
        self._whole = all(isinstance(point[self.name], int) for point in points)
        self._sign = 1 if last > first else -1
        self._step = codec_class.rate_step
        self._others = {name: value for name, value in points[0].items() if name != self.name}
        self._origin = middle if self._step else 2 ** (round(2 * math.log2(middle)) / 2)

    def value(self, number: float) -> float:
        """The parameter at a number of the grid, or half way between two; integers where the codec's own are."""
        moved = self._sign * number
        found = self._origin + moved * self._step if self._step else self._origin * 2 ** (moved / 2)
        return round(found) if self._whole else float(f"{found:.{_DIGITS}g}")

    def params(self, number: float) -> dict[str, Any]:
        """All parameters that the rate point names."""
        return {**self._others, self.name: self.value(number)}


def lay_out(
    codec_class: type[Codec],
    scenario: Scenario,
    score: Callable[[Codec], CalibrationScore],
    identity: Mapping[str, Any],
    seen: Sequence[LadderPoint] = (),
    keep: Callable[[Ladder], None] = lambda ladder: None,
) -> Ladder:
    """Walks the grid.

    Args:
        codec_class: whose ladder.
        scenario: on which.
        score: of a codec on calibration samples.
        identity: what decides that, beside the codec.
        seen: what an interrupted walk has measured, which is not measured again.
        keep: gets the unfinished ladder after each point that is measured.

    Raises:
        CodecError: if the codec has no one rate parameter, or fails.
    """
    grid, seen = Grid(codec_class), list(seen)

    def made(points: Sequence[LadderPoint], ends: Sequence[End], *, complete: bool) -> Ladder:
        return Ladder(
            codec=codec_class.name,
            codec_identity=identity_of(codec_class),
            parameter=grid.name,
            identity=dict(sorted(identity.items())),  # as in the file, over which the digest goes
            points=list(points),
            open_ends=list(ends),
            seen=seen,
            complete=complete,
        )

    walk = _Walk(grid, codec_class, scenario, score, seen, lambda: keep(made(seen, (), complete=False)))
    if walk.at(0) is None:
        raise CodecError(f"codec {codec_class.name!r} refuses {grid.params(0)}, the middle of its own ladder")
    open_ends: list[End] = [end for end in _SIDES if not walk.goes_beyond(end)]
    walk.forget(_superfluous(walk.points()))
    first_and_last = {end: walk.end(end) for end in _SIDES}
    if len(walk.points()) < LEAST_POINTS:
        for number, _ in walk.points()[:-1]:
            walk.at(number + 0.5)
    for end, number in first_and_last.items():
        if end not in open_ends:
            walk.add(number, end, SPARE_POINTS[end])
    return made([point for _, point in walk.points()], open_ends, complete=True)


class _Walk:
    """The points of a grid that have been measured, and those that are to be.

    Args:
        grid: of the codec.
        codec_class: whose points.
        scenario: for whose tensors.
        score: of a codec on calibration samples.
        seen: what was measured before; gains what is measured now.
        keep: called whenever it has gained.
    """

    def __init__(
        self,
        grid: Grid,
        codec_class: type[Codec],
        scenario: Scenario,
        score: Callable[[Codec], CalibrationScore],
        seen: list[LadderPoint],
        keep: Callable[[], None],
    ) -> None:
        self._grid, self._codec_class, self._scenario = grid, codec_class, scenario
        self._score, self._seen, self._keep = score, seen, keep
        self._found: dict[float, LadderPoint] = {}

    def points(self) -> list[tuple[float, LadderPoint]]:
        """Those of the ladder by their numbers, from the highest rate to the lowest."""
        return sorted(self._found.items(), key=lambda item: item[0])

    def end(self, end: End) -> int:
        """The number of the whole step of the grid that is the last in this direction."""
        return round(min(self._found) if end == "highest" else max(self._found))

    def forget(self, numbers: Iterable[float]) -> None:
        """Takes points from the ladder, though not from what was seen."""
        for number in numbers:
            del self._found[number]

    def at(self, number: float) -> LadderPoint | None:
        """The point at a number; None where the codec refuses the parameter, or it is the one next to it."""
        params = self._grid.params(number)
        if any(point.params == params for point in self._found.values()):
            return None
        try:
            codec = self._codec_class(self._scenario.specs, self._codec_class.make_params(params))
        except CodecError:
            return None
        point = next((point for point in self._seen if point.params == params), None)
        if point is None:
            known = self._score(codec)
            point = LadderPoint(params=params, ebpfp=known.ebpfp, score=known.score, retention=known.retention)
            self._seen.append(point)
            self._keep()
        self._found[number] = point
        return point

    def goes_beyond(self, end: End) -> bool:
        """Measures points from the middle in a direction, up to the first that is out of the range; whether one was."""
        direction, is_beyond = _SIDES[end]
        point: LadderPoint | None = self._found[0]
        for number in range(1, MOST_POINTS + 1):
            if point is not None and is_beyond(point.retention):
                return True
            following = self.at(direction * number)
            if following is None:  # whole numbers may come twice on a fine grid; a refused one is the end
                following = self.at(direction * (number + 1)) if number < MOST_POINTS else None
                if following is None:
                    return False
            if point is not None and following.ebpfp == point.ebpfp:
                return False
            point = following
        return point is not None and is_beyond(point.retention)

    def add(self, number: int, end: End, count: int) -> None:
        """Measures so many points further on in a direction, where the parameter does not run out."""
        direction, _ = _SIDES[end]
        for more in range(1, MOST_POINTS):
            if count and self.at(number + direction * more) is not None:  # whole numbers may come twice on a fine grid
                count -= 1


def _superfluous(points: Sequence[tuple[float, LadderPoint]]) -> list[float]:
    """The numbers beyond the first that is out of range on either side: the middle may have been out of it."""
    high = [number for number, point in points if point.retention > HIGHEST_RETENTION]
    low = [number for number, point in points if point.retention < LOWEST_RETENTION]
    first = max((n for n in high if all(other in high for other, _ in points if other <= n)), default=-math.inf)
    last = min((n for n in low if all(other in low for other, _ in points if other >= n)), default=math.inf)
    return [number for number, _ in points if not first <= number <= last]


# ---------------------------------------------------------------------------------------------------------------- files


def ladder_path(directory: Path, scenario: Scenario, codec: str) -> Path:
    """Where a ladder is kept."""
    return directory / scenario.ref / f"{codec}.json"


def write_ladder(path: Path, ladder: Ladder) -> None:
    """Writes a ladder, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, ladder.model_dump(mode="json"))


def read_ladder(path: Path) -> Ladder:
    """A ladder from its file.

    Raises:
        DataError: if it is none.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path} is no ladder: it is larger than {MAX_FILE_BYTES} bytes")
        return Ladder.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path} is no ladder; `lamofcbench ladder` writes one") from error


def is_of(ladder: Ladder, codec_class: type[Codec], identity: Mapping[str, Any]) -> bool:
    """Whether the same code and data, and as many samples, would give it again."""
    code = (RULE, identity_of(codec_class), dict(identity))
    return (ladder.rule, ladder.codec_identity, ladder.identity) == code


def measured_before(path: Path, codec_class: type[Codec], identity: Mapping[str, Any]) -> Ladder | None:
    """The ladder of a file, finished or not, where the same code and data would give it again; None for any other."""
    try:
        ladder = read_ladder(path)
    except (DataError, OSError):
        return None
    return ladder if is_of(ladder, codec_class, identity) else None


def chosen_by(codec: Codec, scenario: Scenario, directory: Path | None) -> str:
    """By what a rate point was chosen: a ladder file, with rule and digest, the codec's own ladder, or a name."""
    if ladder := ladder_of(codec, scenario, directory):
        return ladder
    codec_class = type(codec)
    own = any(codec_class.make_params(point) == codec.params for point in codec_class.rate_points)
    return OWN_LADDER if own else NAMED


def own_points(codec_class: type[Codec]) -> dict[str, dict[str, Any]]:
    """The rate points of a codec's own ladder, by all parameters as text."""
    points = [to_plain(codec_class.make_params(point)) for point in codec_class.rate_points]
    return {canonical_json(point): point for point in points}


def ladder_of(codec: Codec, scenario: Scenario, directory: Path | None) -> str | None:
    """Rule and digest of the ladder file that holds a rate point; None where none does."""
    codec_class = type(codec)
    path = None if directory is None else ladder_path(directory, scenario, codec_class.name)
    if path is not None and path.is_file():
        ladder = read_ladder(path)
        if any(codec_class.make_params(point.params) == codec.params for point in ladder.points):
            return f"rule {ladder.rule}, {ladder.digest}"
    return None


def calibrated(directory: Path, scenario: Scenario, codec_class: type[Codec]) -> list[LadderPoint] | None:
    """The rate points of a codec on a scenario by its ladder file, highest rate first; None where there is none.

    Raises:
        DataError: if the file is damaged, or was made for another declaration of the scenario, or by other code of the
            codec, the metric or the split model.
    """
    path = ladder_path(directory, scenario, codec_class.name)
    if not path.is_file():
        return None
    ladder = read_ladder(path)
    code = {"scenario_digest": scenario.digest, **code_of(scenario, make_metric(scenario))}
    other = any(ladder.identity.get(name) != value for name, value in code.items())
    if other or ladder.codec_identity != identity_of(codec_class):
        raise DataError(f"{path} is of other code or another declaration; run `lamofcbench ladder` again")
    if not ladder.complete:
        raise DataError(f"{path} is unfinished; run the same `lamofcbench ladder` again, which goes on with it")
    return ladder.points
