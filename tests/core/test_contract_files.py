"""Reading files and lines of JSON, and writing it canonically."""

from __future__ import annotations

import json

import pytest
from contract_documents import META

from planner_core import jsonio
from planner_core.contracts import DatasetMeta
from planner_core.errors import DataError


def test_missing_file_is_a_data_error(tmp_path):
    path = tmp_path / "meta.json"
    with pytest.raises(DataError, match=r"meta\.json"):
        jsonio.read_file(path, DatasetMeta)
    with pytest.raises(DataError, match=r"meta\.json"):
        list(jsonio.iter_lines(path))


def test_read_file_names_the_file(tmp_path):
    path = tmp_path / "meta.json"
    path.write_text(json.dumps({**META, "label_source": "guess"}))
    with pytest.raises(DataError) as caught:
        jsonio.read_file(path, DatasetMeta)
    assert caught.value.source == str(path)
    path.write_text(json.dumps(META))
    assert jsonio.read_file(path, DatasetMeta).example_count == 10


def test_lines_keep_their_numbers_across_blank_ones(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'\n{"a": 1}\r\n   \n\n{"a": 2}')
    assert [(number, json.loads(line)) for number, line in jsonio.iter_lines(path)] == [(2, {"a": 1}), (5, {"a": 2})]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_file_without_a_line_is_an_error(tmp_path, content):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"runs\.jsonl"):
        list(jsonio.iter_lines(path))


def test_canonical_json_does_not_depend_on_key_order():
    expected = '{"a":{"c":"ö","d":[1,2]},"b":null}'.encode()
    assert jsonio.canonical({"b": None, "a": {"d": [1, 2], "c": "ö"}}) == expected
