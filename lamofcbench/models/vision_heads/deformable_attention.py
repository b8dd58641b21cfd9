"""Multi-scale deformable attention (arXiv 2010.04159): each query looks at a few places that it chooses itself.

With heads m, levels l and points k, what becomes of a query q at the place p of 0..1 by 0..1 is

    output_proj(concatenation over m of  sum over l, k of  A[m, l, k] V[m, l](p + d[m, l, k] / (w_l, h_l))),

where the offsets d and, after a softmax over all l and k of a head, the weights A are linear in q, and V[m, l] is the
map of a linear projection of level l, read by bilinear interpolation between the centres of its pixels, zero outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, int]
"""Height and width of a map."""


class DeformableAttention(nn.Module):
    """See the module.

    Args:
        width: C, of queries, values and outcome.
        heads: M.
        levels: L, maps to look at.
        points: K, places a head, level and query.
        value_width: of the projected values over all heads; C where None.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int, value_width: int | None = None) -> None:
        super().__init__()
        value_width = width if value_width is None else value_width
        if value_width % heads:
            raise ValueError(f"{heads} heads do not divide {value_width} channels")
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, value_width)
        self.output_proj = nn.Linear(value_width, width)

    def forward(self, queries: Tensor, places: Tensor, values: Tensor, sizes: Sequence[Size]) -> Tensor:
        """What the queries find, ``[N, Q, C]``.

        Args:
            queries: ``[N, Q, C]``.
            places: of the queries, as (x, y) between 0 and 1, ``[Q, 2]``.
            values: the levels' tokens, row by row and one level after the other, ``[N, S, C]``.
            sizes: of the L levels.
        """
        count, length = queries.shape[:2]
        choices = (count, length, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(queries).view(*choices, 2)
        weights = self.attention_weights(queries).view(*choices[:3], -1).softmax(dim=-1).view(choices)
        parts = self.value_proj(values).split([height * width for height, width in sizes], dim=1)
        found: Tensor | None = None
        for level, ((height, width), part) in enumerate(zip(sizes, parts, strict=True)):
            chosen = places[:, None, None] + offsets[:, :, :, level] / offsets.new_tensor([width, height])
            read = functional.grid_sample(
                self._by_head(part.transpose(1, 2).unflatten(2, (height, width))),
                (2 * chosen - 1).transpose(1, 2).flatten(0, 1),
                mode="bilinear",
                padding_mode="zeros",
                align_corners=False,
            )  # [N M, C / M, Q, K]
            mixed = (read * weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]).sum(dim=-1)
            found = mixed if found is None else found + mixed
        assert found is not None
        return self.output_proj(found.view(count, -1, length).transpose(1, 2))

    def _by_head(self, level: Tensor) -> Tensor:
        """``[N M, C / M, h, w]`` of ``[N, C, h, w]``."""
        return level.unflatten(1, (self.heads, -1)).flatten(0, 1)


def centres(sizes: Sequence[Size], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The places of the pixels of maps of these sizes, as (x, y) between 0 and 1, ``[sum of h w, 2]``.

    Example:
        >>> centres([(1, 2)], torch.device("cpu"), torch.float32).tolist()
        [[0.25, 0.5], [0.75, 0.5]]
    """
    grids = []
    for height, width in sizes:
        rows, columns = (
            (torch.arange(length, device=device, dtype=dtype) + 0.5) / length for length in (height, width)
        )
        grids.append(torch.stack([columns.repeat(height), rows.repeat_interleave(width)], dim=-1))
    return torch.cat(grids)
