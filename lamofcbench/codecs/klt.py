"""`klt`: joint transform coding of all tensors that describe the same token, patch or place."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs import integers
from lamofcbench.codecs.base import CalibrationSamples, Codec
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, TableStack, least_bytes
from lamofcbench.codecs.transform.blocks import Block, BlockState
from lamofcbench.codecs.transform.choice import cheapest
from lamofcbench.codecs.transform.classes import MAGNITUDES, UNCODED, TableCounts, classes_of, quantised, restored
from lamofcbench.codecs.transform.fitting import Fitted, block_state, fit_groups
from lamofcbench.codecs.transform.ingredients import EVERYTHING, Ingredients
from lamofcbench.codecs.transform.outliers import Outliers
from lamofcbench.codecs.transform.profiles import rows_of
from lamofcbench.codecs.transform.rows import RowGroup, row_groups
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet

Matrix = NDArray[np.float32]
K = TypeVar("K", bound="KltCodec")


@dataclass(frozen=True)
class KltParams:
    """Parameters of `KltCodec`.

    Attributes:
        step: the quantiser's step, in units of a tensor's root mean square deviation from what is expected of its rows.
        rank: the most directions that the transform of a group of tensors keeps, which bounds the state; None for as
            many as fit 32 MiB together.
    """

    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    rank: Annotated[int, Field(ge=0, le=2**16)] | None = None


class KltCodec(Codec):
    """Codes tokens, patches or places as whole vectors, over all tensors that know them.

    All keys, values and the hidden state of a token are functions of one residual stream, all levels of a patch of
    another: side by side they make one row (`lamofcbench.codecs.transform.rows`), keys as they were before their rotary
    embedding. A calibrated Karhunen-Loeve transform takes the rows apart into independent coefficients, a second one
    runs over the rows where their number never varies, and all coefficients are rounded to multiples of one step: for
    Gaussian sources, reverse water-filling. The table of a coefficient depends on its deviation over the step alone, in
    classes of a quarter octave that all tensors share; what deviates far less than a step is not coded at all.

    First and last rows, and the places of rows whose number never varies, have means and deviations of their own; rows
    that come again bit by bit in one tensor, as those of a token do in layer 0, are predicted from a dictionary. What
    a transform of limited rank leaves is coded by columns, where it is large against the step. Values far outside
    anything that calibration has seen are sent as they are, and do not enter the transform.
    """

    Params = KltParams
    ingredients: ClassVar[Ingredients] = EVERYTHING
    rate_points = tuple({"step": step} for step in (0.1, 0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.3, 16.0))
    needs_calibration = True
    paper = "https://doi.org/10.1109/79.952802"  # Goyal, Theoretical foundations of transform coding

    def learn(self, calibration: CalibrationSamples) -> Mapping[str, Tensor]:
        """A block a group of tensors, and the tables that all of them share."""
        fitted = fit_groups(self._groups, calibration, self.params.rank, ingredients=self.ingredients)
        return self._learned(fitted)

    def _learned(self, fitted: Sequence[Fitted]) -> dict[str, Tensor]:
        """The state of fitted groups."""
        step = self.params.step
        chosen = [cheapest(each.candidates, step) for each in fitted]
        classes = [
            [classes_of(d, step) for d in (each.deviations, each.others_deviations, each.residual_deviations)]
            for each in chosen
        ]
        tables = TableCounts(np.unique(np.concatenate([a.reshape(-1) for each in classes for a in each])))
        state: dict[str, Tensor] = {}
        for index, known in enumerate(chosen):
            numbers, of_others, residual_numbers = (tables.numbers(each) for each in classes[index])
            kept = int(np.flatnonzero((numbers != UNCODED).any(0)).max(initial=-1)) + 1
            if known.analysis is None and known.weighting is None:
                kept = numbers.shape[1]
            numbers = numbers[:, :kept]
            for values, profiles, fold in zip(known.coefficients, known.profiles, known.folds, strict=True):
                tables.add(values[:, :kept] / np.float32(step), of_others[fold, profiles, :kept])
            tables.add(known.residuals / np.float32(step), np.broadcast_to(residual_numbers, known.residuals.shape))
            state |= block_state(fitted[index], known, step, kept, numbers, residual_numbers).named_tensors(index)
        return {
            **state,
            "step": torch.tensor([step], dtype=torch.float64),
            "frequencies": torch.from_numpy(tables.frequencies()),
            "shifts": torch.from_numpy(tables.shifts()),
        }

    def check_state(self) -> None:
        """A positive step, a block that fits each group, and a table for each of its numbers."""
        step = self.state["step"]
        if step.shape != (1,) or not torch.isfinite(step).all() or not step > 0:
            raise CodecError(f"codec {self.name!r} has no positive step")
        shifts = self.state["shifts"]
        if shifts.shape != (len(self._tables), MAGNITUDES) or not (shifts.abs() < 1).all():
            raise CodecError(f"codec {self.name!r} has no centroids for each table")
        for block in self._blocks:
            lowest, highest = block.table_range
            if not UNCODED <= lowest <= highest < len(self._tables):
                raise CodecError(f"codec {self.name!r} has no table for each coefficient")

    def continuing(self: K, first_position: int) -> K:
        """Keys are turned back from where they stand, and no row counts as first or last."""
        codec = super().continuing(first_position)
        if codec is not self:
            codec._blocks = [block.continuing(first_position) for block in self._blocks]
        return codec

    def places_and_scales(self) -> tuple[list[int], list[Matrix]]:
        """Of each group of tensors, over how many rows its places repeat, and what each column is divided by."""
        states = [BlockState.of(index, self.state) for index in range(len(self._groups))]
        return [int(each.places) for each in states], [each.scale.numpy() for each in states]

    @functools.cached_property
    def _groups(self) -> list[RowGroup]:
        return row_groups(self.specs, self.ingredients)

    @functools.cached_property
    def _blocks(self) -> list[Block]:
        return [Block(group, BlockState.of(index, self.state)) for index, group in enumerate(self._groups)]

    @functools.cached_property
    def _tables(self) -> list[FrequencyTable]:
        return [integers.table(row) for row in self.state["frequencies"].to(torch.int32).numpy()]

    @functools.cached_property
    def _stack(self) -> TableStack:
        return TableStack(self._tables)

    @functools.cached_property
    def _shifts(self) -> Matrix:
        return self.state["shifts"].float().numpy()

    @functools.cached_property
    def _step(self) -> np.float32:
        return np.float32(self.state["step"].item())

    def encode_features(self, features: FeatureSet) -> bytes:
        """Group by group: coefficients, what they leave of columns, outliers."""
        encoder = SymbolEncoder(self._least_bytes({n: tuple(t.shape) for n, t in features.tensors.items()}))
        for block in self._blocks:
            rows = block.group.gather(features)
            entries = block.find_entries(rows)
            block.put_entries(encoder, entries)
            profiles = block.row_profiles(len(rows), entries)
            centred, beyond = block.centred(rows, entries)
            found = self._put(encoder, block.analyse(centred), block.tables[profiles])
            columns = block.residual_columns
            if columns.size:
                left = block.residuals(centred, found)
                self._put(encoder, left, np.broadcast_to(block.residual_tables, left.shape))
            beyond.encode(encoder, rows.shape)
        return encoder.finish()

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """Means, coefficients transformed back, and what stands for itself."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes))
        tensors: dict[str, Tensor] = {}
        for block in self._blocks:
            count = rows_of(block.group.row_shape(shapes))
            entries = block.take_entries(decoder, count)
            centred = block.synthesise(self._take(decoder, block.tables[block.row_profiles(count, entries)]))
            columns = block.residual_columns
            if columns.size:
                left = np.broadcast_to(block.residual_tables, (count, len(columns)))
                block.add_residuals(centred, self._take(decoder, left))
            beyond = Outliers.decode(decoder, (count, block.group.width))
            tensors |= block.group.scatter(block.restored(centred, entries, beyond), shapes)
        decoder.finish()
        return {name: tensors[name] for name in shapes}

    def _put(self, encoder: SymbolEncoder, values: Matrix, numbers: NDArray[np.int16]) -> Matrix:
        """Appends values, each by its table, and returns what they are restored to; zero where they are not coded."""
        coded = numbers != UNCODED
        tables, scaled = numbers[coded], values[coded] / self._step
        whole = quantised(scaled)
        tokens = integers.tokenise(whole.astype(np.float64), scaled)
        encoder.put_indexed(tokens.symbols, tables, self._stack)
        tokens.put_extras(encoder)
        return self._restored(whole, tables, coded)

    def _take(self, decoder: SymbolDecoder, numbers: NDArray[np.int16]) -> Matrix:
        """What `_put` returned for the values that it appended."""
        coded = numbers != UNCODED
        tables = numbers[coded]
        values, raw, originals = integers.detokenise(decoder.take_indexed(tables, self._stack), 1.0, decoder)
        values[raw] = originals
        return self._restored(values.astype(np.float32), tables, coded)

    def _restored(self, whole: Matrix, tables: NDArray[np.int16], coded: NDArray[np.bool_]) -> Matrix:
        """Values of the integers at the places that are coded, in the shape of these."""
        result = np.zeros(coded.shape, np.float32)
        result[coded] = restored(whole, tables, self._shifts) * self._step
        return result

    def _least_bytes(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        costs = np.array([0, *(table.least_cost for table in self._tables)], np.int64)  # `UNCODED` costs nothing
        cost = 0
        for block in self._blocks:
            rows = rows_of(block.group.row_shape(shapes))
            of_profiles = costs[block.tables + 1].sum(1) + costs[block.residual_tables + 1].sum()
            cost += rows * int(of_profiles.min(initial=0))  # which profile a row has is known only from the stream
        return least_bytes(cost)
