"""What code a figure was made with, as one line of text: the identity of a codec, metric, adapter or builder.

=========================================  ============================================================================
identity                                   of
=========================================  ============================================================================
``lamofcbench:NAME@REVISION``              a class of this project; the revision is raised when its output changes, so
                                           that moving or rewriting code voids no result
``file:FILE.py:NAME#HASH``                 a class of a user's own file; over that file and the modules of its folder
                                           that it imports
``dist:NAME==VERSION:CLASS#HASH``          a class of an installed distribution; over the Python files that this
                                           distribution brings, so that an editable installation counts, too
``anonymous:CLASS``                        a class that nothing tells apart from an edited one, from a notebook say:
                                           what it made is never used again
=========================================  ============================================================================

Hashes also cover the identities of the plugin classes that a class inherits from. Several parts that decide a figure
together are joined by `` + ``. No identity holds a path or anything else of the machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from lamofcbench.user_files.closure import PROJECT
from lamofcbench.user_files.installed import installed_code
from lamofcbench.user_files.modules import attribute_of, tree_of

HASH_DIGITS = 16
ANONYMOUS = "anonymous:"
JOINED = " + "


def identity_of(plugin: Any) -> str:
    """The identity of a plugin's class.

    Args:
        plugin: a class or an instance of it.

    Example:
        >>> from lamofcbench.codecs.mean import MeanCodec
        >>> identity_of(MeanCodec)
        'lamofcbench:mean@1'
    """
    plugin_class = plugin if isinstance(plugin, type) else type(plugin)
    name = plugin_class.__name__
    if plugin_class.__module__.partition(".")[0] in PROJECT:
        known_as = getattr(plugin_class, "name", None)
        return f"lamofcbench:{known_as if isinstance(known_as, str) else name}@{_revision(plugin_class) or 1}"
    tree = tree_of(plugin_class)
    if tree is not None:
        return _hashed(plugin_class, f"file:{tree.main}:{attribute_of(plugin_class)}", tree.digest)
    code = installed_code(plugin_class)
    if code is not None:
        return _hashed(plugin_class, f"dist:{code.name}=={code.version}:{name}", code.digest)
    return ANONYMOUS + name


def joined(plugins: Iterable[Any]) -> str:
    """The identity of several plugins that decide a figure together, in their order."""
    return JOINED.join(identity_of(plugin) for plugin in plugins)


def is_anonymous(identity: str) -> bool:
    """Whether an identity, or a part of it, does not tell code apart."""
    return any(part.startswith(ANONYMOUS) for part in identity.split(JOINED))


def is_shipped(identity: str) -> bool:
    """Whether an identity is that of a class of this project.

    Example:
        >>> is_shipped("lamofcbench:uniform@2"), is_shipped("file:my_codec.py:Mine#00c2a50d3fc0e4a5")
        (True, False)
    """
    return identity.startswith("lamofcbench:")


def family_of(identity: str) -> str:
    """Where code comes from, without what changes as it is edited: one family and one name are one plugin, edited.

    Example:
        >>> family_of("lamofcbench:uniform@2"), family_of("file:my_codec.py:Mine#00c2a50d3fc0e4a5")
        ('lamofcbench', 'file:my_codec.py')
        >>> family_of("dist:fast-codecs==1.2:Fast#00c2a50d3fc0e4a5"), family_of("anonymous:Mine"), family_of("")
        ('dist:fast-codecs', 'anonymous', '')
    """
    return JOINED.join(_family(part) for part in identity.split(JOINED))


def plugin_of(identity: str) -> str:
    """An identity without what changes as its code is edited: which plugin of its family it is.

    Example:
        >>> plugin_of("lamofcbench:uniform@2"), plugin_of("dist:fast-codecs==1.2:Fast#00c2a50d3fc0e4a5")
        ('lamofcbench:uniform', 'dist:fast-codecs:Fast')
    """
    without_hash = re.sub(r"(#[0-9a-f]+|@[0-9]+)$", "", identity)
    return re.sub(r"^(dist:[^=]*)==.*(:)", r"\1\2", without_hash)


def _family(identity: str) -> str:
    kind, _, rest = identity.partition(":")
    if kind == "file":
        return f"file:{rest.rpartition('#')[0].rpartition(':')[0]}"
    if kind == "dist":
        return f"dist:{rest.partition('==')[0]}"
    return kind


def _hashed(plugin_class: type, label: str, digest: str) -> str:
    """The label with a hash of the class's code and of the plugin classes that it inherits from."""
    bases = [identity_of(base) for base in plugin_class.__mro__[1:] if _revision(base) is not None]
    if any(map(is_anonymous, bases)):
        return ANONYMOUS + plugin_class.__name__
    return f"{label}#{hashlib.sha256(' '.join([digest, *bases]).encode()).hexdigest()[:HASH_DIGITS]}"


def _revision(plugin_class: type) -> int | None:
    """The integer that a plugin class carries; a builder calls it ``version``, because `revision` is its data's."""
    for attribute in ("revision", "version"):
        value = getattr(plugin_class, attribute, None)
        if isinstance(value, int):
            return value
    return None
