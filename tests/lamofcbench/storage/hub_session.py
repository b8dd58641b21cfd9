"""Run by test_storage_hub.py in a process of its own, because huggingface_hub reads its endpoint when it is imported.

Arguments: the dataset folder, a second one of other samples, the scenario's name. Prints what it saw as JSON.
"""

import json
import os
import sys
from pathlib import Path

from loopback_hub import LoopbackHub


def main(folder: Path, other_folder: Path, name: str) -> None:
    """One session of a user with a Hub."""
    hub = LoopbackHub()
    first = hub.commit("org/words", "main", folder)
    hub.commit("org/words", "v1", folder)
    hub.commit("org/empty", "main", folder / "user-words")
    os.environ |= {"HF_ENDPOINT": hub.start(), "HF_HUB_OFFLINE": "0"}

    import datasets

    import lamofcbench
    from lamofcbench.errors import LaMoFCBenchError
    from lamofcbench.storage import open_split

    def fetched():
        """Files asked for since the last call."""
        files = [request.removeprefix("GET ") for request in hub.requests if request.startswith("GET ")]
        hub.requests.clear()
        return files

    seen = {"first": first, "errors": []}
    samples = open_split(name, "test", repo="org/words")
    seen["source"] = samples.source.uri
    seen["at_open"] = fetched()
    seen["word"] = samples.reference(0)
    samples.features(0)
    seen["after_first_sample"] = fetched()

    second = hub.commit("org/words", "main", other_folder)  # the branch moves on
    seen["tokens"] = [features["hidden.1"].shape[0] for features in samples]
    seen["letters"] = [len(samples.reference(i)) for i in range(len(samples))]
    seen["revisions_asked_for"] = sorted({request.rpartition("@")[2] for request in hub.requests})
    moved = open_split(name, "test", repo="org/words")
    seen["moved"] = [moved.source.uri.endswith(second), moved.reference(0)]
    seen["old_commit"] = open_split(name, "test", repo="org/words", revision=first).reference(0)

    rows = datasets.load_dataset("lamofcbench", name, split="test[:3]", repo="org/words", revision="v1")
    files = {file["file"] for file in rows.data.to_pydict()["pooled"]}
    seen["rows"] = [rows["reference"][:], str(rows[0]["key.0"].dtype), sorted(files)]
    stream = lamofcbench.load_dataset(name, "test", repo="org/words", streaming=True)
    seen["stream"] = next(iter(stream))["reference"]

    for options in (
        {"repo": "org/absent"},
        {"repo": "org/words", "revision": "v9"},
        {"repo": "org/empty"},
        {"repo": "a b"},
    ):
        try:
            open_split(name, "test", **options)
        except LaMoFCBenchError as error:
            seen["errors"].append(str(error))
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
