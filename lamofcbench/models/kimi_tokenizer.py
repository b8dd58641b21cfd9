"""The text tokenizer of Kimi-Audio, read from its table of byte pieces, with no code from its repository.

The table (``tiktoken.model``) has a line a piece: its bytes in base64, and its rank, which is also its id. Text is cut
by a pattern, and within each cut the neighbours of the lowest joint rank are merged until no merge is left. Special
tokens stand behind the table.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamofcbench.errors import DataError
from lamofcbench.models.loading import hub_file, load_settings
from lamofcbench.scenarios.base import Scenario

TABLE = "tiktoken.model"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = {
    "<|im_msg_end|>": 2,
    "<|im_media_begin|>": 18,
    "<|im_media_end|>": 20,
    "<|im_kimia_text_blank|>": 23,
    "<|im_kimia_text_eos|>": 24,
    "<|im_kimia_user_msg_start|>": 27,
    "<|im_kimia_assistant_msg_start|>": 28,
    "<|im_kimia_speech_ct_id|>": 32,
}
"""The special tokens that prompts and answers use, by their places behind the table."""
LONGEST_PIECE = 1024


class KimiTokenizer:
    """Text to ids and back; what a split model needs of a tokenizer, by the names that transformers gives it.

    Args:
        ranks: each piece's bytes and its rank, which are 0, 1, 2, ...

    Example:
        >>> ranks = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"ll": 257, b"hell": 258}
        >>> tokenizer = KimiTokenizer(ranks)
        >>> tokenizer("hello")["input_ids"], tokenizer.decode([258, 111, 283])
        ([258, 111], 'hello')
    """

    chat_template = None

    def __init__(self, ranks: Mapping[bytes, int]) -> None:
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import Split

        self._ranks = ranks
        self._pieces = sorted(ranks, key=ranks.__getitem__)
        self._split = Split(Regex(PATTERN), behavior="isolated")

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """The ids of a text under ``input_ids``; names of special tokens within it are plain text."""
        cuts = [cut for cut, _ in self._split.pre_tokenize_str(text)]
        return {"input_ids": [rank for cut in cuts for rank in self._merged(cut.encode())]}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids; special tokens have none."""
        return b"".join(self._pieces[id] for id in ids if id < len(self._pieces)).decode("utf-8", "replace")

    def convert_tokens_to_ids(self, token: str) -> int:
        """The id of a special token.

        Raises:
            DataError: if there is none of that name.
        """
        if token not in SPECIAL:
            raise DataError(f"Kimi-Audio's tokenizer has no special token {token!r}; known: {', '.join(SPECIAL)}")
        return len(self._pieces) + SPECIAL[token]

    def _merged(self, text: bytes) -> list[int]:
        parts = [text[i : i + 1] for i in range(len(text))]
        unknown = len(self._ranks)
        while len(parts) > 1:
            joint = [self._ranks.get(parts[i] + parts[i + 1], unknown) for i in range(len(parts) - 1)]
            lowest = min(joint)
            if lowest == unknown:
                break
            place = joint.index(lowest)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return [self._ranks[part] for part in parts]


def read_ranks(path: Path) -> dict[bytes, int]:
    """The table of pieces, checked.

    Raises:
        DataError: if the file is missing, or is no such table.
    """
    if not path.is_file():
        raise DataError(f"no file {path} with the tokenizer's pieces")
    ranks: dict[bytes, int] = {}
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            if line.strip():
                piece, rank = line.split()
                ranks[base64.b64decode(piece, validate=True)] = int(rank)
    except (UnicodeDecodeError, ValueError, binascii.Error) as error:
        raise DataError(f"{path} is no table of base64 pieces and ranks: {error}") from error
    single = all(bytes([byte]) in ranks for byte in range(256))
    if not single or sorted(ranks.values()) != list(range(len(ranks))) or max(map(len, ranks)) > LONGEST_PIECE:
        raise DataError(f"{path} is no complete table: all 256 bytes, and ranks that count up from 0")
    return ranks


def load_kimi_tokenizer(scenario: Scenario, directory: Path | None) -> Any:
    """The tokenizer beside a model's weights: a ``tokenizer.json`` of transformers, or a table of pieces.

    Args:
        scenario: whose backbone names the Hub repository and commit.
        directory: the folder to read instead; None for the Hub.

    Raises:
        DataError: if there is neither, or it cannot be read.
    """
    if directory is not None and not (directory / TABLE).is_file():
        from transformers import PreTrainedTokenizerFast

        # Not by the Auto class, which reads the tokenizer of every Qwen2 as Qwen2's own.
        return load_settings(PreTrainedTokenizerFast, scenario, directory, "")
    path = directory / TABLE if directory is not None else _published(scenario)
    return KimiTokenizer(read_ranks(path))


def _published(scenario: Scenario) -> Path:
    # Checked when the weights are resolved; repeated here for the type.
    assert scenario.backbone.revision is not None
    return hub_file(scenario.backbone.source, TABLE, scenario.backbone.revision)
