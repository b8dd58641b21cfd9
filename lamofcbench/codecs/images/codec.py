"""What the image and video codecs share: features to pages of integer samples, a coded image a page, and back.

A family adds `encode_image` and `decode_image` and its parameters. Its images must be complete but for what the shapes
tell, and its decoder must refuse an image of another size before it allocates one.
"""

from __future__ import annotations

import functools
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.images import page_layout
from lamofcbench.codecs.images.companding import Compander, QuantiserName, learn_knots
from lamofcbench.codecs.images.headers import check_size
from lamofcbench.codecs.images.page_layout import Levels
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet

LENGTH_BYTES = 4
"""What the length of each image takes that another follows: only samples of more than 16 million elements have two."""
MAX_HEADER_BYTES = 1024


@dataclass(frozen=True)
class ImageParams:
    """Parameters of every `ImageCodec`.

    Attributes:
        quantiser: what maps values to levels: ``asinh``, ``kmeans`` as published, or ``affine``; see
            `lamofcbench.codecs.images.companding`.
    """

    quantiser: QuantiserName = "asinh"


class ImageCodec(Codec):
    """Maps each tensor to integer levels, lays their planes out on pages, and codes each page as an image.

    Class attributes that a family sets:
        bits: of a level.
    """

    Params = ImageParams
    bits: ClassVar[int] = 10
    needs_calibration = True
    extra = "image"

    @abstractmethod
    def encode_image(self, levels: Levels) -> bytes:
        """The coded image of a page ``[height, width]``."""

    @abstractmethod
    def decode_image(self, data: bytes, height: int, width: int) -> Levels:
        """The page of a coded image; what lies beyond the range of levels is clipped by the caller.

        Raises:
            BitstreamError: if the image is damaged or of another size.
        """

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """Knots, float32 ``[tensors, knots]``."""
        knots = learn_knots(calibration, len(self.specs.tensors), self.params.quantiser)
        return {"knots": torch.from_numpy(knots)}

    def check_state(self) -> None:
        """Each tensor has finite ascending knots."""
        knots = self.state["knots"]
        if knots.dim() != 2 or len(knots) != len(self.specs.tensors) or not 2 <= knots.shape[1] <= 2**16:
            raise CodecError(f"codec {self.name!r} has no knots for each tensor")
        if not bool(torch.isfinite(knots).all()) or not bool((knots.diff(dim=1) >= 0).all()):
            raise CodecError(f"codec {self.name!r} has knots that are not finite or do not ascend")

    @functools.cached_property
    def _companders(self) -> list[Compander]:
        return [Compander(knots, self.bits) for knots in self.state["knots"].float().numpy()]

    @functools.cached_property
    def _roles(self) -> list[str]:
        return [spec.role for spec in self.specs.tensors]

    def encode_features(self, features: FeatureSet) -> bytes:
        """The images of all pages, each but the last after its length."""
        layout = page_layout.lay_out(
            self.specs, {name: tuple(tensor.shape) for name, tensor in features.tensors.items()}
        )
        levels = [c.levels(tensor) for tensor, c in zip(features.tensors.values(), self._companders, strict=True)]
        images = [self.encode_image(page) for page in page_layout.to_pages(layout, self._roles, levels)]
        parts = [part for image in images[:-1] for part in (len(image).to_bytes(LENGTH_BYTES, "little"), image)]
        return b"".join([*parts, *images[-1:]])

    def quantise_features(self, features: FeatureSet) -> Mapping[str, Tensor]:
        """What the companders make of the levels when the image codec loses nothing."""
        return {
            name: torch.from_numpy(compander.values(compander.levels(tensor)))
            for (name, tensor), compander in zip(features.tensors.items(), self._companders, strict=True)
        }

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """What the companders make of the decoded levels."""
        layout = page_layout.lay_out(self.specs, shapes)
        pages, at = [], 0
        for number, (height, width) in enumerate(layout.pages):
            end = len(payload)
            if number < len(layout.pages) - 1:
                at += LENGTH_BYTES
                end = at + int.from_bytes(payload[at - LENGTH_BYTES : at], "little")
            if not at < end <= len(payload):
                raise BitstreamError(f"image {number} is missing or longer than the payload")
            page = self.decode_image(payload[at:end], height, width)
            if page.shape != (height, width):
                raise BitstreamError(f"image {number} is {page.shape}, not {(height, width)}")
            pages.append(np.clip(page, 0, 2**self.bits - 1).astype(np.int16))
            at = end
        if at != len(payload):
            raise BitstreamError(f"{len(payload) - at} bytes stand behind the last image")
        tensors = page_layout.from_pages(layout, self._roles, [shapes[spec.name] for spec in self.specs.tensors], pages)
        return {
            spec.name: torch.from_numpy(compander.values(levels.numpy()))
            for spec, compander, levels in zip(self.specs.tensors, self._companders, tensors, strict=True)
        }


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turns whatever a decoding library raises into a `BitstreamError`."""
    try:
        yield
    except BitstreamError:
        raise
    except Exception as error:
        raise BitstreamError(f"{what} cannot decode: {error}") from error


def decode_frame(decoder: str, stream: bytes, pixel_format: str, height: int, width: int) -> Levels:
    """The first plane of the only frame of a stream.

    Args:
        decoder: FFmpeg's name of it.
        stream: a whole one.
        pixel_format: of the frame, with two bytes a sample.
        height: of the frame.
        width: of the frame.
    """
    import av

    with decoding(decoder):
        context: Any = av.CodecContext.create(decoder, "r")
        context.thread_count = 1
        frames = [*context.decode(av.Packet(stream)), *context.decode(None)]
        if len(frames) != 1 or frames[0].format.name != pixel_format:
            raise BitstreamError(f"{decoder} decodes {[frame.format.name for frame in frames[:8]]}")
        check_size((frames[0].height, frames[0].width), height, width)
        plane = frames[0].planes[0]
        return np.frombuffer(plane, "<u2").reshape(height, plane.line_size // 2)[:, :width]


def deflate_header(header: bytes, typical: bytes) -> bytes:
    """A header in few bytes, where it resembles a typical one: headers say much that is always the same.

    Args:
        header: at most `MAX_HEADER_BYTES`.
        typical: known to both sides.
    """
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_FIXED, typical)
    return deflater.compress(header) + deflater.flush()


def inflate_header(data: bytes, typical: bytes) -> tuple[bytes, bytes]:
    """The header at the start of the data, and what follows it."""
    inflater = zlib.decompressobj(-15, typical)
    try:
        header = inflater.decompress(data, MAX_HEADER_BYTES)
    except zlib.error as error:
        raise BitstreamError(f"an image's header is damaged: {error}") from error
    if not inflater.eof:
        raise BitstreamError("an image's header is cut off or too long")
    return header, inflater.unused_data
