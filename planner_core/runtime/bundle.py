"""Reading a bundle: verified against its manifest, every byte of it, before anything in it is used."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from planner_core import jsonio, system
from planner_core.action_space import ActionSpace
from planner_core.contracts import Probability, RequestActionSpace, Temperature
from planner_core.decision import ScoreKind
from planner_core.encoder import EncoderConfig
from planner_core.errors import BundleError, DataError
from planner_core.files import DirectoryKind, new_directory
from planner_core.runtime.onnx_bounds import check_bounded
from planner_core.runtime.onnx_scan import check_self_contained

__all__ = ["INDEX_MODEL", "MANIFEST", "MODEL", "Bundle", "is_bundle", "read_bundle", "write_bundle"]

T = TypeVar("T")

BUNDLE_SCHEMA = "swarm_planner.bundle.v1"
MANIFEST = "manifest.json"
MODEL, INDEX_MODEL = "model.onnx", "model_indices.onnx"
FILES = (
    *(MODEL, "config.json", "action_space.json", "encoder.json", "calibration.json"),
    *("metadata.json", "validation_report.json", "golden.jsonl"),
)
OPTIONAL_FILES = (INDEX_MODEL,)
SIGNATURE = "model.sig"
"""A signature that somebody put beside the files; nothing here reads it."""


MAX_FILE_BYTES = 64 * 1024 * 1024
"""No file of a bundle is larger; the promise for a model is a tenth of it."""


_ATTEMPTS = 5
_PAUSE_S = 0.02
"""Longer than the moment in which a file system without an exchange has no bundle at a path that is being replaced."""


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """``manifest.json``: the SHA-256 of every file, and of this list itself."""

    schema_version: str
    files: dict[str, str]
    digest: str


class _Calibration(msgspec.Struct):
    """What is read of ``calibration.json``."""

    temperatures: dict[str, Temperature]
    method: str = "none"
    threshold: Probability = 0.0


class _Config(msgspec.Struct):
    """What is read of ``config.json``."""

    score_kind: ScoreKind = "heads"


class _Metadata(msgspec.Struct):
    """What is read of ``metadata.json``."""

    version: str
    policy: str
    dataset_hash: str | None = None
    operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. The models are the bytes that were hashed, so nothing can change them in between.

    ``model`` reads dense features; ``index_model``, where the bundle holds one, the positions that are on. Where
    ``score_kind`` is "outcomes" both give the expected outcomes too.
    """

    path: Path
    digest: str
    model: bytes
    index_model: bytes | None
    score_kind: ScoreKind
    config: dict[str, Any]
    action_space: ActionSpace
    encoder: EncoderConfig
    calibration: dict[str, Any]
    metadata: dict[str, Any]
    golden: bytes


def manifest_bytes(files: dict[str, str]) -> bytes:
    """The one way a manifest for ``files`` {name: SHA-256 hex} is written; reading accepts no other."""
    return jsonio.pretty({"schema_version": BUNDLE_SCHEMA, "files": files, "digest": manifest_digest(files)})


def write_bundle(path: Path, content: Mapping[str, bytes]) -> str:
    """Write a bundle of files {name: bytes}, whole or not at all; a bundle that is there gives way, nothing else.

    Returns its digest, "sha256:..." over the list of its files.
    """
    with new_directory(path, replace=BUNDLE) as made:
        names = [name for name in (*FILES, *OPTIONAL_FILES) if name in content]
        for name in names:
            (made / name).write_bytes(content[name])
        hashes = {name: hashlib.sha256(content[name]).hexdigest() for name in names}
        (made / MANIFEST).write_bytes(manifest_bytes(hashes))
    return f"sha256:{manifest_digest(hashes)}"


def manifest_digest(files: dict[str, str]) -> str:
    """SHA-256, in hexadecimal, of the list of a bundle's files; it names the whole content."""
    return hashlib.sha256(jsonio.canonical([BUNDLE_SCHEMA, files])).hexdigest()


def is_bundle(path: Path) -> bool:
    """Whether ``path`` looks like a bundle (it may still be a broken one)."""
    return (path / MANIFEST).is_file() or (path / MODEL).is_file()


def read_bundle(path: Path) -> Bundle:
    """Read and verify a bundle. Raises :class:`BundleError` naming what is wrong; never a partly read bundle."""
    path = Path(path)
    content = _verified(path)
    for name in (MODEL, INDEX_MODEL):
        if name in content:
            check_self_contained(content[name], name)
            check_bounded(content[name], _declared(content), name)
    try:
        space, _ = _document(content, path, "action_space.json", RequestActionSpace)
        _, calibration = _document(content, path, "calibration.json", _Calibration)
        _, metadata = _document(content, path, "metadata.json", _Metadata)
        encoder, _ = _document(content, path, "encoder.json", EncoderConfig)
        known, config = _document(content, path, "config.json", _Config)
        manifest = jsonio.read(content[MANIFEST], Manifest, MANIFEST)
    except DataError as problem:
        raise BundleError(f"{problem}; the bundle cannot be read") from None
    return Bundle(
        path,
        manifest.digest,
        content[MODEL],
        content.get(INDEX_MODEL),
        known.score_kind,
        config,
        ActionSpace.from_request(space),
        encoder,
        calibration,
        metadata,
        content["golden.jsonl"],
    )


def _declared(content: dict[str, bytes]) -> tuple[str, ...]:
    """The operators that ``metadata.json`` declares beside the usual ones; none where it cannot be read."""
    try:
        return jsonio.read(content["metadata.json"], _Metadata, "metadata.json").operators
    except DataError:
        return ()  # told when the file itself is read


def _document(content: dict[str, bytes], path: Path, name: str, contract: type[T]) -> tuple[T, dict[str, Any]]:
    """One JSON file of the bundle, checked and as it is."""
    return jsonio.read(content[name], contract, str(path / name)), msgspec.json.decode(content[name])


def _verified(path: Path) -> dict[str, bytes]:
    """The bytes of every file, after all checks that need no knowledge of what they mean.

    They are read through one descriptor of the directory. An export that replaces the bundle meanwhile takes files out
    of it; then the one that stands there now is read instead.
    """
    attempt = 1
    while True:
        try:
            with system.opened_directory(path) as directory:
                try:
                    return _read_through(directory, path)
                except BundleError:
                    if attempt == _ATTEMPTS or directory.is_at(path):
                        raise
        except (FileNotFoundError, NotADirectoryError):
            if attempt > 1 or path.exists():
                raise BundleError(f"{path}: there is no bundle (expected a directory with {MANIFEST})") from None
        except OSError as problem:
            raise BundleError(f"{path}: the bundle cannot be read ({problem.strerror})") from None
        attempt += 1
        time.sleep(_PAUSE_S)


def _read_through(directory: system.Directory, path: Path) -> dict[str, bytes]:
    raw = _read(directory, path, MANIFEST)
    manifest = _manifest(raw, path)
    content = {MANIFEST: raw}
    for name, expected in manifest.files.items():
        data = _read(directory, path, name)
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise BundleError(
                f"{path / name}: found SHA-256 {found[:16]}..., expected {expected[:16]}... as in {MANIFEST}; "
                "the bundle was altered after it was written"
            )
        content[name] = data
    return content


def _manifest(raw: bytes, path: Path) -> Manifest:
    """The manifest, which is the list of a bundle's files and says so in the one way that is written."""
    try:
        manifest = jsonio.read(raw, Manifest, str(path / MANIFEST))
    except DataError as problem:
        raise BundleError(f"{problem}; the bundle was altered or is no bundle") from None
    if manifest.schema_version != BUNDLE_SCHEMA:
        raise BundleError(
            f"{path / MANIFEST}: found schema_version {manifest.schema_version!r}; this version reads {BUNDLE_SCHEMA!r}"
        )
    odd = sorted(set(manifest.files) - {*FILES, *OPTIONAL_FILES} | set(FILES) - set(manifest.files))
    if odd:
        raise BundleError(f"{path / MANIFEST}: the list of files is not that of a bundle (differs in {', '.join(odd)})")
    if raw != manifest_bytes(manifest.files):
        raise BundleError(f"{path / MANIFEST}: the manifest was altered (its own digest does not fit)")
    return manifest


def _read(directory: system.Directory, path: Path, name: str) -> bytes:
    """The bytes of one file of the bundle: a plain file of a bounded size, not a link to somewhere else."""
    try:
        data = directory.read(name, MAX_FILE_BYTES + 1)
    except OSError as problem:
        raise BundleError(
            f"{path / name}: missing, or not a plain file to be read ({problem.strerror}); the bundle is incomplete"
        ) from None
    if data is None:
        raise BundleError(f"{path / name}: not a plain file; a bundle holds its own files and no links")
    if len(data) > MAX_FILE_BYTES:
        raise BundleError(f"{path / name}: larger than {MAX_FILE_BYTES} bytes, the limit for a file of a bundle")
    return data


def _members(path: Path) -> set[str]:
    """The files that a bundle's manifest lists, and itself; BundleError for what is no bundle."""
    with system.opened_directory(path) as directory:
        return {MANIFEST, SIGNATURE, *_manifest(_read(directory, path, MANIFEST), path).files}


BUNDLE = DirectoryKind("a bundle", MANIFEST, _members)
"""What an export may replace: a bundle whose files may be damaged, but whose manifest is whole."""
