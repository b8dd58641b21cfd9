"""What a cheat does to a submission, as well as one can: hashes and figures are made to fit again."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import load_file

from harness.results import hashes
from harness.results.record import STATISTIC
from harness.results.result import Result
from harness.results.scoring import figures_of, judge, make_metric
from harness.results.store import config_hash
from harness.results.tables import read_table
from harness.statistics.distortion import squared_errors
from harness.submission.bitstreams import BITSTREAMS_FILE, Bitstreams
from lamofcbench.atomic import write_json
from lamofcbench.codecs.saving import fingerprint_of
from lamofcbench.digests import digest


def edit_json(path: Path, change) -> None:
    """Changes a JSON file in place."""
    content = json.loads(path.read_text())
    write_json(path, change(content) or content)


class Doctored:
    """A result of a submission, to be spoilt."""

    def __init__(self, submission: Path, scenario, codec: str = "uniform", number: int = 0) -> None:
        self.submission, self.scenario = submission, scenario
        self.path = sorted((submission / "results" / scenario.ref / codec).iterdir())[number]
        self.other = sorted((submission / "results" / scenario.ref / codec).iterdir())[number - 1]

    @property
    def place(self) -> str:
        """As the manifest names it."""
        return "/".join(self.path.parts[-3:])

    def seal(self) -> None:
        """Makes the hashes fit."""
        names = ["result.json", "samples.parquet", "timings.parquet", "codec"]
        run = json.loads((self.path / "run.json").read_text())
        write_json(self.path / "run.json", hashes.sealed(run, hashes.hashes_of(self.path, names)))

    def result(self, change, *, seal: bool = True) -> None:
        """Changes the report."""
        edit_json(self.path / "result.json", change)
        if seal:
            self.seal()

    def manifest(self, change) -> None:
        """Changes what the submission says about itself."""
        edit_json(self.submission / "submission.json", change)

    def table(self, *, figures: bool = True, judged: bool = True, **columns) -> None:
        """Changes columns of the table; statistics, report and hashes are made to fit."""
        path = self.path / "samples.parquet"
        table = pq.read_table(path)
        for name, change in columns.items():
            name = name.replace("__", ".")
            at = table.schema.get_field_index(name)
            table = table.set_column(
                at, table.schema.field(at), pa.array(change(table.column(at).to_pylist()), table.schema.field(at).type)
            )
        metric = make_metric(self.scenario)
        if judged:
            fresh = [judge(metric, self.scenario, row["prediction"], row["reference"]) for row in table.to_pylist()]
            for name in [name for name in table.column_names if name.startswith(STATISTIC)]:
                at = table.schema.get_field_index(name)
                values = pa.array([row[name] for row in fresh], table.schema.field(at).type)
                table = table.set_column(at, table.schema.field(at), values)
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)
        if figures:
            self.count()
        self.seal()

    def count(self) -> None:
        """Makes the figures of the report those of the table."""
        result = Result.model_validate_json((self.path / "result.json").read_bytes())
        figures = figures_of(make_metric(self.scenario), read_table(self.path / "samples.parquet"))
        write_json(self.path / "result.json", result.model_copy(update=figures).model_dump(mode="json"))

    def configuration(self, **fields) -> None:
        """Another configuration, in the folder of its own hash, and the manifest to fit."""
        before = self.place
        result = Result.model_validate_json((self.path / "result.json").read_bytes())
        codec = result.codec.model_copy(update=fields.pop("codec", {}))
        result = result.model_copy(update=fields | {"codec": codec})
        result = result.model_copy(update={"config_hash": config_hash(result.config)})
        write_json(self.path / "result.json", result.model_dump(mode="json"))
        self.path = self.path.rename(self.path.with_name(result.config_hash))
        self.seal()

        def renamed(manifest):
            prints = manifest["codec"]["fingerprints"]
            prints.pop(before, None)
            prints[self.place] = result.codec.fingerprint

        self.manifest(renamed)

    def saved(self, **changes) -> None:
        """Other fields in the saved codec's config; the fingerprint of these and of the state that is there now."""
        folder = self.path / "codec"
        config = json.loads((folder / "config.json").read_text()) | changes
        decisive = {key: value for key, value in config.items() if key not in ("fingerprint", "codec_class")}
        fingerprint = fingerprint_of(decisive, load_file(folder / "model.safetensors")).hex()
        write_json(folder / "config.json", config | {"fingerprint": fingerprint})
        self.configuration(codec={"fingerprint": fingerprint, "params": config["codec_params"]})

    def contents(self) -> list[bytes]:
        """The bytes of all samples."""
        held = Bitstreams(self.path / BITSTREAMS_FILE, self.scenario.test_samples)
        return [held.read(index) for index in held.shown]

    def bitstreams(self, change, *, hashed: bool = True) -> None:
        """Changes the bytes of samples; their hashes are made to fit."""
        path = self.path / BITSTREAMS_FILE
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        contents = change(self.contents())
        listed = [hashlib.sha256(content).hexdigest() for content in contents]
        tensors = {str(index): np.frombuffer(content, np.uint8) for index, content in enumerate(contents)}
        save_file(tensors, path, {"sha256": json.dumps(listed)} if hashed else metadata)

    def encoded_as(self, codec, originals, data: list[bytes]) -> None:
        """Puts bytes of all samples in place of these, and makes sizes, digests and errors fit."""
        decoded = [codec.decode(one) for one in data]
        errors = [squared_errors(*pair) for pair in zip(originals, decoded, strict=True)]
        self.bitstreams(lambda contents: data)
        self.table(
            coded_bytes=lambda sizes: list(map(len, data)),
            decoded_sha256=lambda digests: list(map(digest, decoded)),
            squared_error__hidden=lambda values: [one["hidden"] for one in errors],
            squared_error__key__0=lambda values: [one["key.0"] for one in errors],
        )

    def as_another(self, source: Path) -> None:
        """Puts the files of another result in place of these."""
        shutil.rmtree(self.path)
        shutil.copytree(source, self.path)
