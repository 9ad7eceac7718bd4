"""Arrays that are written and read row by row: the same bytes as NumPy's own, and what is broken is refused."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from planner_core.data.npy import NpyWriter, NpzMember, write_npz


@pytest.mark.parametrize("parts", [[], [3], [1, 0, 4]])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_a_file_written_in_parts_is_numpys_own(tmp_path, parts, shape):
    whole = np.arange(sum(parts) * int(np.prod(shape)), dtype=np.float32).reshape(sum(parts), *shape)
    with NpyWriter(tmp_path / "a.npy", np.float32, shape) as writer:
        for end, size in zip(np.cumsum(parts), parts, strict=True):
            writer.append(whole[end - size : end])
    np.save(tmp_path / "b.npy", whole)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_rows_are_cast(tmp_path):
    with NpyWriter(tmp_path / "a.npy", np.uint16) as writer:
        writer.append(np.array([1, 2], np.int64))
    stored = np.load(tmp_path / "a.npy")
    assert stored.dtype == np.uint16 and stored.tolist() == [1, 2]


def test_an_archive_is_numpys_own(tmp_path):
    arrays = {"one": np.arange(6.0).reshape(2, 3), "two": np.zeros((0, 3), np.float32)}
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    write_npz(tmp_path / "a.npz", {name: tmp_path / f"{name}.npy" for name in arrays})
    np.savez(tmp_path / "b.npz", **arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_come_in_c_order(tmp_path, monkeypatch, order, save):
    monkeypatch.setattr("planner_core.data.npy.BUFFER", 100)  # several parts
    whole = np.arange(60, dtype=np.int16).reshape(20, 3)
    save(tmp_path / "a.npz", x=np.asarray(whole, order=order))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        member = NpzMember(archive, "x")
        assert (member.shape, member.dtype) == ((20, 3), np.int16)
        parts = list(member.chunks())
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(parts) == (1 if order == "F" else 2)


def member_of(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", content)
    return zipfile.ZipFile(buffer)


def test_what_is_no_array_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(1000))
    content = (tmp_path / "x.npy").read_bytes()
    with pytest.raises(ValueError, match="before all of it"):
        list(NpzMember(member_of(content[:-8]), "x").chunks())
    for broken in (b"", b"no array at all", content[:20]):
        with pytest.raises(ValueError):
            NpzMember(member_of(broken), "x")
    with pytest.raises(KeyError):
        NpzMember(member_of(content), "y")
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        NpzMember(member_of((tmp_path / "o.npy").read_bytes()), "x")


@pytest.mark.parametrize(
    "shape, fortran", [((30_000, 50_000), True), ((1, 1_500_000_000), False), ((2, 2**40, 2**40), False)]
)
def test_what_a_header_claims_is_not_allocated(shape, fortran):
    """2.9 MB of zeros, compressed, took 5.9 GB."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": fortran, "shape": shape})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected at most 268435456"):
            NpzMember(member_of(header.getvalue() + bytes(1000)), "x")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "fortran", "message"),
    [
        ((2, 1 << 30), False, r"a has 4294967296 bytes in one row"),
        ((1 << 15, 1 << 15), True, r"a has 4294967296 bytes in one array in Fortran order"),
    ],
)
def test_a_header_is_not_believed_before_it_is_bounded(tmp_path, shape, fortran, message):
    """A few hundred bytes that claim gigabytes: refused before anything is allocated."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": fortran, "shape": shape})
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(1000))
    tracemalloc.start()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, pytest.raises(ValueError, match=message):
        list(NpzMember(archive, "a").chunks())
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
