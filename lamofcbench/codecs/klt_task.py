"""`klt-task`: joint transform coding in the tail's metric, for codecs that may know what the features are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from lamofcbench.codecs.base import CalibrationSamples
from lamofcbench.codecs.klt import KltCodec
from lamofcbench.codecs.transform.familiarity import Rule
from lamofcbench.codecs.transform.fitting import fit_groups


class KltTaskCodec(KltCodec):
    """`klt`, with errors counted by how far they move the tail's response.

    The transform takes rows apart in the metric of the averaged outer product of the response's gradients
    (`lamofcbench.codecs.sensitivity`), so that one step for all coefficients spends bits where the tail looks; what is
    not coded is predicted from what is. All else is as in `klt`. A group of tensors for which held-out halves of the
    calibration samples show no gain from weights is transformed as there. Without a stated rank, transforms have 32 MiB
    together. Foreign samples are transformed as in `klt`, for the metric knows nothing of their tail; many rows of one
    have to tell that it is foreign (`lamofcbench.codecs.transform.familiarity`).

    It has seen gradients of the tail of one task, which features of calibration alone do not tell: its figures are for
    that task, and not to be compared with those of codecs that know features only without saying so.
    """

    name = "klt-task"
    revision = 9
    rate_points = tuple({"step": step} for step in (0.1, 0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.3, 16.0))
    needs_sensitivity = True
    familiar_by: ClassVar[Rule] = Rule.MANY_ROWS

    def learn(self, calibration: CalibrationSamples) -> Mapping[str, Tensor]:
        """A block a group of tensors, and the tables that all of them share."""
        return self._learned(fit_groups(self._groups, calibration, self.params.rank, calibration.sensitivity))
