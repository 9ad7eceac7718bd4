"""Parts of an ONNX file: a tensor, its values moved to another file, and fields spelt byte by byte."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, numpy_helper

WEIGHTS = numpy_helper.from_array(np.array([1, 2], np.float32), "w")


def outside(tensor, location="weights.bin"):
    """The same tensor with its values in another file."""
    tensor = TensorProto.FromString(tensor.SerializeToString())
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, payload, wide=False):
    """One field with a length; ``wide`` spells its tag in five bytes, of which the last adds bits beyond the 32nd.

    Readers of the format drop those, onnxruntime's among them.
    """
    tag = number << 3 | 2
    spelt = bytes([tag & 0x7F | 0x80, tag >> 7 & 0x7F | 0x80, 0x80, 0x80, 0x10]) if wide else varint(tag)
    return spelt + varint(len(payload)) + payload
