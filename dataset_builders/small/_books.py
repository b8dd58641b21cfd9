"""Two books without copyright that the source distribution of ``brotli`` carries as test data (Canterbury corpus).

========  ====================================================================================  ============
file      book                                                                                  kind
========  ====================================================================================  ============
lcet10    Workshop on Electronic Texts: Proceedings, Library of Congress, 1992                  expository
alice29   Alice's Adventures in Wonderland, Lewis Carroll, 1865                                 fiction
========  ====================================================================================  ============

Both are texts of Project Gutenberg; the archive is under the MIT licence. Nothing of them is copied into this
repository: they are read out of the archive, and known by their hash.

What counts as prose: paragraphs, which blank lines separate, unwrapped to one line, of at least `LEAST_LETTERS`
characters, not indented as lists, verse and titles are, and ending as a sentence does. Of the proceedings the talks are
taken, neither front matter nor appendices, nor the framed summaries that stand before each talk.
"""

from __future__ import annotations

import functools
import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from lamofcbench.errors import DataError, first_line
from lamofcbench.storage.cache import sources_folder

ARCHIVE, REQUIREMENT = "brotli-1.2.1.tar.gz", "brotli==1.2.1"
MEMBER = "brotli-1.2.1/tests/testdata/{book}.txt"
SHA256 = {
    "lcet10": "5314ba1dbb03f471df88bec6cd120a938ef60d0fd3511c5c1dce61bf7463245f",
    "alice29": "7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0",
}
LEAST_LETTERS = 60

_FRAME = re.compile(r"\+{20,}")
_CHAPTER = re.compile(r" +CHAPTER [IVX]+")
_PROCEEDINGS, _APPENDIX = re.compile(r" +PROCEEDINGS"), re.compile(r" +Appendix I:.*")
_INDENTED = re.compile(r" {3}")
_SENTENCE_END = re.compile(r"[.!?][)'\"\]]*$")


@dataclass(frozen=True)
class Section:
    """A talk of the proceedings, or a chapter of the novel.

    Attributes:
        book: the file's name without its suffix.
        number: position in the book.
        paragraphs: each on one line.
    """

    book: str
    number: int
    paragraphs: tuple[str, ...]


@functools.cache
def sections() -> tuple[Section, ...]:
    """All sections of both books that hold prose, in order.

    Raises:
        DataError: if the archive is missing, or holds other texts.
    """
    found = []
    for book, cut in (("lcet10", _talks), ("alice29", _chapters)):
        prose = (tuple(_paragraphs(lines)) for lines in cut(_text(book).splitlines()))
        found += [Section(book, number, paragraphs) for number, paragraphs in enumerate(filter(None, prose))]
    return tuple(found)


def download_command() -> str:
    """The command that fetches the archive to where it is looked for."""
    return f"pip download --no-deps --no-binary brotli --dest {sources_folder()} {REQUIREMENT}"


def _text(book: str) -> str:
    archive, member = sources_folder() / ARCHIVE, MEMBER.format(book=book)
    fetch = f"fetch it with: {download_command()}"
    if not archive.is_file():
        raise DataError(f"the small edition reads its prose from {archive}, which is not there; {fetch}")
    try:
        with tarfile.open(archive) as tar:
            extracted = tar.extractfile(member)
            content = extracted.read() if extracted is not None else b""
    except (OSError, KeyError, tarfile.TarError) as error:
        raise DataError(f"cannot read {member} in {archive} ({first_line(error)}); {fetch}") from error
    if hashlib.sha256(content).hexdigest() != SHA256[book]:
        raise DataError(f"{member} in {archive} is another text than that of {REQUIREMENT}; {fetch}")
    return content.decode("ascii")


def _talks(lines: list[str]) -> Iterator[list[str]]:
    """What stands behind each framed summary, up to the next."""
    start = next(i for i, line in enumerate(lines) if _PROCEEDINGS.fullmatch(line) and i > 200)
    stop = next(i for i, line in enumerate(lines) if _APPENDIX.fullmatch(line) and i > start)
    frames = [i for i in range(start, stop) if _FRAME.fullmatch(lines[i])]
    for closing, opening in zip(frames[1::2], [*frames[2::2], stop], strict=True):
        yield lines[closing + 1 : opening]


def _chapters(lines: list[str]) -> Iterator[list[str]]:
    starts = [i for i, line in enumerate(lines) if _CHAPTER.fullmatch(line)]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start + 1 : stop]


def _paragraphs(lines: list[str]) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", "\n".join(lines)):
        paragraph = " ".join(block.split())
        prose = len(paragraph) >= LEAST_LETTERS and _SENTENCE_END.search(paragraph)
        if prose and not _INDENTED.match(block.strip("\n")):
            yield paragraph
