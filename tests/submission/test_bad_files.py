"""Hand-made bad files: each is refused with one clear line and nothing else."""

import base64
import gzip
import io
import json
import os
import socket
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from envoi.errors import ReplayError, SignatureError, SubmissionError
from envoi.submission import generate_key, open_submission
from envoi.submission.layout import (
    FACTOR_SCALES,
    FEATURE_CORRELATIONS,
    FEATURE_DEVIATIONS,
    FEATURE_FACTORS,
    FEATURE_MEANS,
)

NAN, INF = float("nan"), float("inf")


def the_refusal(forge, path, received=None):
    """The error, which must be one short line of printable ASCII with all four parts."""
    with pytest.raises(SubmissionError) as caught:
        forge.read(path, received)
    line = str(caught.value)
    assert len(caught.value.problems) == 1
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 600
    problem = caught.value.problems[0]
    assert all((problem.expected, problem.found, problem.where, problem.remedy))
    return caught.value


def entries_with(forge, name, **changes):
    """The header's entries, those of tensor `name` changed."""
    entries = {place.name: place.entry() for place in forge.layout.places}
    entries[name] = {**entries[name], **changes}
    return forge.file(forge.header(forge.text(), entries=entries))


def renamed(forge, old, new):
    """The header's entries with one tensor under another name."""
    every = {place.name: place.entry() for place in forge.layout.places}
    entries = {new if name == old else name: entry for name, entry in every.items()}
    return forge.file(forge.header(forge.text(), entries=entries))


def raw_header(forge, header):
    """A file of the right size with any header."""
    return forge.file(forge.padded(header))


def filled(forge, content):
    """`content` (a file of another kind) brought to the right size."""
    return content[: forge.layout.file_bytes].ljust(forge.layout.file_bytes, b"\0")


def replaced(text, old, new):
    assert old in text
    return text.replace(old, new)


def zipped(content=b"x" * 100):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", content)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("../../etc/passwd")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"x:x"))
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, images=np.zeros(4))
    return buffer.getvalue()


def swapped_offsets(forge):
    entries = {place.name: place.entry() for place in forge.layout.places}
    mean, var = entries["network/bn.running_mean"], entries["network/bn.running_var"]
    mean["data_offsets"], var["data_offsets"] = var["data_offsets"], mean["data_offsets"]
    return forge.file(forge.header(forge.text(), entries=entries))


def doubled_key(forge):
    text = forge.text()
    header = forge.header(text).rstrip()
    again = b'{"__metadata__":{"manifest":"{}","signature":""},'
    return raw_header(forge, again + header[1:])


def doubled_tensor(forge):
    header = forge.header(forge.text()).rstrip()
    entry = json.dumps(forge.layout.places[0].entry(), separators=(",", ":"))
    name = forge.layout.places[0].name
    return raw_header(forge, header[:-1] + f',"{name}":{entry}}}'.encode())


def with_entry(forge, name, entry):
    every = {place.name: place.entry() for place in forge.layout.places}
    return forge.file(forge.header(forge.text(), entries={**every, name: entry}))


def other_order(forge):
    every = {place.name: place.entry() for place in forge.layout.places}
    return forge.file(forge.header(forge.text(), entries=dict(reversed(every.items()))))


def card(forge, **changes):
    return forge.signed(card={**forge.manifest["card"], **changes})


def signature(forge, value):
    text = forge.text()
    return forge.file(forge.header(text, metadata={"manifest": text, "signature": value}))


def tensor_changed(name, *values, dtype=torch.float32):
    def make(forge):
        shape = forge.tensors[name].shape
        return forge.signed(tensors={name: torch.tensor(values, dtype=dtype).reshape(shape)})

    return make


def with_counts(forge, counts, **changes):
    """A file with other class counts, of which the card tells the sum."""
    return forge.signed(
        class_counts=counts, card={**forge.manifest["card"], "images": sum(counts)}, **changes
    )


NO_MEANS = {FEATURE_MEANS: torch.zeros(3, 3)}
NO_CORRELATIONS = {FEATURE_CORRELATIONS: torch.zeros(3, dtype=torch.float16)}
SIZE = "bytes, found"
HEADER = "expected a safetensors header, found"
CANONICAL = "in its canonical form, found another spelling"
FILES = {
    # Size and length
    "empty": (lambda f: b"", "found 0 bytes"),
    "one byte": (lambda f: f.file()[:1], "found 1 bytes"),
    "cut in the length": (lambda f: f.file()[:7], "found 7 bytes"),
    "cut after the length": (lambda f: f.file()[:8], "found 8 bytes"),
    "cut in the header": (lambda f: f.file()[:500], "found 500 bytes"),
    "cut after the header": (lambda f: f.file()[: f.layout.data_start], SIZE),
    "cut in a tensor": (lambda f: f.file()[:-20], SIZE),
    "last byte missing": (lambda f: f.file()[:-1], SIZE),
    "one byte more": (lambda f: f.file() + b"\0", SIZE),
    "twice": (lambda f: f.file() * 2, SIZE),
    "zeros": (lambda f: filled(f, b""), "expected the header length of the study's files, found 0"),
    "header length 1": (lambda f: f.file(length=1), "header length"),
    "header length too large": (lambda f: f.file(length=f.layout.file_bytes), "header length"),
    "header length 2**63": (lambda f: f.file(length=2**63), "found 9223372036854775808"),
    "header length -1": (lambda f: f.file(length=2**64 - 1), "found 18446744073709551615"),
    "header length in the other byte order": (
        lambda f: f.layout.header_bytes.to_bytes(8, "big") + f.file()[8:],
        "header length",
    ),
    # JSON of the header
    "header of spaces": (lambda f: raw_header(f, b""), HEADER),
    "header of NULs": (lambda f: f.file(b"\0" * f.layout.header_bytes), HEADER),
    "header is no JSON": (lambda f: raw_header(f, b"{'a': 1}"), "not JSON at character 1"),
    "header is a list": (lambda f: raw_header(f, b"[]"), "found other metadata"),
    "header is a number": (lambda f: raw_header(f, b"1"), "found other metadata"),
    "header is null": (lambda f: raw_header(f, b"null"), "found other metadata"),
    "two documents": (lambda f: raw_header(f, b"{}{}"), HEADER),
    "header cut off": (lambda f: raw_header(f, f.header(f.text())[:900]), HEADER),
    "byte order mark": (
        lambda f: raw_header(f, b"\xef\xbb\xbf" + f.header(f.text()).rstrip()),
        HEADER,
    ),
    "UTF-16": (lambda f: raw_header(f, '{"__metadata__":{}}'.encode("utf-16")), "not UTF-8 at 0"),
    "UTF-16 without a mark": (lambda f: raw_header(f, "{}".encode("utf-16-le")), HEADER),
    "invalid UTF-8": (lambda f: raw_header(f, b'{"\xc3\x28":1}'), "not UTF-8 at 2"),
    "UTF-8 of a surrogate": (lambda f: raw_header(f, b'{"\xed\xa0\x80":1}'), "not UTF-8 at 2"),
    "escaped surrogate": (lambda f: raw_header(f, b'{"\\ud800":1}'), "an escaped surrogate"),
    "duplicate metadata": (doubled_key, "stands twice"),
    "duplicate tensor": (doubled_tensor, "stands twice"),
    "deep lists": (lambda f: raw_header(f, b"[" * 1500 + b"]" * 900), "deeper than 8"),
    "deep objects": (lambda f: raw_header(f, b'{"a":' * 700), "deeper than 8"),
    "deep behind a string": (lambda f: raw_header(f, b'["]]]]\\"]]",' + b"[" * 3000), "deeper"),
    "NaN": (lambda f: raw_header(f, b'{"a":NaN}'), "NaN, which is not JSON"),
    "infinity": (lambda f: raw_header(f, b'{"a":-Infinity}'), "-Infinity, which is not JSON"),
    "number out of range": (lambda f: raw_header(f, b'{"a":1e999}'), "out of range"),
    "number of many digits": (lambda f: raw_header(f, b"1" * 3500), "3500 digits"),
    "fraction of many digits": (lambda f: raw_header(f, b"0." + b"1" * 3500), "out of range"),
    "NUL in the header": (
        lambda f: f.file(f.header(f.text())[:-1] + b"\0"),
        HEADER,
    ),
    "tab in place of a space": (lambda f: f.file(f.header(f.text())[:-1] + b"\t"), CANONICAL),
    "space between keys": (
        lambda f: raw_header(f, f.header(f.text()).rstrip().replace(b'":{', b'": {', 1)),
        CANONICAL,
    ),
    "escaped letters in the header": (
        lambda f: raw_header(f, f.header(f.text()).rstrip().replace(b"F32", b"\\u004632", 1)),
        CANONICAL,
    ),
    "other order of tensors": (other_order, CANONICAL),
    # Metadata
    "no metadata": (
        lambda f: raw_header(f, f.header(f.text()).replace(b"__metadata__", b"__metadatA__")),
        "found other metadata",
    ),
    "metadata is a string": (
        lambda f: f.file(f.header(f.text(), metadata="x")),
        "found other metadata",
    ),
    "no signature": (
        lambda f: f.file(f.header("", metadata={"manifest": f.text()})),
        "found other metadata",
    ),
    "no manifest": (
        lambda f: f.file(f.header("", metadata={"signature": "x"})),
        "found other metadata",
    ),
    "more metadata": (
        lambda f: f.file(
            f.header("", metadata={"manifest": f.text(), "signature": "", "format": "pt"})
        ),
        "found other metadata",
    ),
    "manifest is an object": (
        lambda f: f.file(f.header("", metadata={"manifest": {}, "signature": "x"})),
        "found other metadata",
    ),
    # Manifest
    "manifest is empty": (lambda f: f.spelled(""), "expected a manifest, found text that is not"),
    "manifest is a list": (lambda f: f.spelled("[]"), "expected schema version 1, found None"),
    "manifest nested deeply": (lambda f: f.spelled("[" * 2000), "deeper than 8"),
    "duplicate key in the manifest": (
        lambda f: f.spelled(replaced(f.text(), '"site":', '"site":"south","site":')),
        "stands twice",
    ),
    "duplicate key inside the card": (
        lambda f: f.spelled(replaced(f.text(), '"epochs":3', '"epochs":3,"epochs":3')),
        "stands twice",
    ),
    "surrogate in the manifest": (
        lambda f: f.spelled(replaced(f.text(), '"north"', '"\\ud83d"')),
        "an escaped surrogate",
    ),
    "manifest with spaces": (
        lambda f: f.spelled(replaced(f.text(), '"site":', '"site": ')),
        CANONICAL,
    ),
    "manifest with unsorted keys": (
        lambda f: f.spelled(json.dumps(dict(reversed(json.loads(f.text()).items())))),
        CANONICAL,
    ),
    "manifest with 1e0 for 1": (
        lambda f: f.spelled(replaced(f.text(), '"temperature":1.5', '"temperature":15e-1')),
        CANONICAL,
    ),
    "manifest with an extra part of the image": (
        lambda f: f.signed(image={**f.manifest["image"], "patient": "Jane Doe"}),
        "found the field 'image.patient'",
    ),
    "unknown schema": (lambda f: f.signed(schema_version=2), "schema version 1, found 2"),
    "schema is true": (lambda f: f.signed(schema_version=True), "schema version 1, found True"),
    "schema is text": (lambda f: f.signed(schema_version="1"), "schema version 1, found '1'"),
    "field missing": (
        lambda f: f.spelled(replaced(f.text(), '"privacy":"none",', "")),
        "a manifest with 'privacy', found none",
    ),
    "unknown field": (lambda f: f.signed(patient="Jane"), "found the field 'patient'"),
    "unknown field of hostile name": (
        lambda f: f.signed(**{"\x1b[2J\n" + "x" * 900: 1}),
        r"found the field '\x1b[2J\nxxx",
    ),
    "card with an unknown field": (
        lambda f: card(f, hostname="ward-3"),
        "found the field 'card.hostname'",
    ),
    "card with free text": (lambda f: card(f, settings="by Dr. X"), "at 'card.settings"),
    "card with negative epochs": (lambda f: card(f, epochs=-1), "'card.epochs'"),
    "card with accuracy above 1": (lambda f: card(f, validation_accuracy=1.5), "less than or"),
    "card with another number of images": (
        lambda f: card(f, images=119),
        "expected 115 images, the sum of the class counts, found 119",
    ),
    "policy as text": (lambda f: f.signed(statistics="all"), "at 'statistics'"),
    "date of a time": (lambda f: f.signed(created="2026-03-04T05:06:07Z"), "at 'created'"),
    "date as number": (lambda f: f.signed(created=1), "at 'created'"),
    "privacy with a negative epsilon": (
        lambda f: f.signed(privacy={"delta": 0.0, "epsilon": -1.0}),
        "greater than 0",
    ),
    "temperature of zero": (lambda f: f.signed(temperature=0.0), "greater than or equal to 0.01"),
    # Site
    "unknown site": (lambda f: f.signed(site="west"), "a site of the roster, found the site"),
    "path as site": (lambda f: f.signed(site="../../x"), "found '../../x'"),
    "site with a line break": (lambda f: f.signed(site="north\n"), r"found 'north\n'"),
    "site with a NUL": (lambda f: f.signed(site="north\0"), r"found 'north\x00'"),
    "site with a terminal escape": (lambda f: f.signed(site="\x1b]0;x\x07"), r"'\x1b]0;x\x07'"),
    "site that reads backwards": (lambda f: f.signed(site="\u202exyz"), r"found '\u202exyz'"),
    "site of many letters": (lambda f: f.signed(site="x" * 1700), "found 'xxx"),
    "site is a list": (lambda f: f.signed(site=["north"]), "a valid string at 'site'"),
    # Signature
    "signature empty": (lambda f: signature(f, ""), "64 bytes in base64"),
    "signature not base64": (lambda f: signature(f, "!" * 88), "64 bytes in base64"),
    "signature not ASCII": (lambda f: signature(f, "é" * 88), "64 bytes in base64"),
    "signature too short": (lambda f: signature(f, "AAAA"), "64 bytes in base64"),
    "signature too long": (
        lambda f: signature(f, base64.b64encode(bytes(65)).decode()),
        "64 bytes in base64",
    ),
    "signature with a line break": (
        lambda f: signature(f, f.signature(f.text()) + "\n"),
        "64 bytes in base64",
    ),
    "signature of zeros": (
        lambda f: signature(f, base64.b64encode(bytes(64)).decode()),
        "a signature that does not match",
    ),
    "signature of another manifest": (
        lambda f: signature(f, f.signature(f.text(sequence=8))),
        "a signature that does not match",
    ),
    "signature of another domain": (
        lambda f: signature(f, f.signature(f.text(), domain=b"envoi withdrawal v1\n")),
        "a signature that does not match",
    ),
    "signed by a stranger": (
        lambda f: signature(f, f.signature(f.text(), key=generate_key())),
        "expected a signature by north, found a signature that does not match",
    ),
    # Study
    "another study": (lambda f: f.signed(study="0" * 64), "found 000000000000..."),
    "study digest in capitals": (lambda f: f.signed(study="A" * 64), "at 'study'"),
    "another label map": (lambda f: f.signed(label_map="0" * 64), "the study's label map"),
    "another image specification": (
        lambda f: f.signed(image={**f.manifest["image"], "size_px": 32}),
        "the study's image specification",
    ),
    "another weight format": (lambda f: f.signed(weight_format="int8"), "the study's weight for"),
    "another policy": (
        lambda f: f.signed(statistics={**f.manifest["statistics"], "minimum_class_size": 1}),
        "the study's statistics policy",
    ),
    "architecture of no study": (lambda f: f.signed(architecture="vgg11"), "found 'vgg11'"),
    "architecture as path": (lambda f: f.signed(architecture="/bin/sh"), "found '/bin/sh'"),
    "architecture of another size": (
        lambda f: f.signed(architecture="vgg8"),
        "the size of a submission with 'vgg8'",
    ),
    # Counts
    "counts withheld": (lambda f: f.signed(class_counts=None), "found no class counts"),
    "counts too few": (lambda f: f.signed(class_counts=[10, 105]), "3 class counts, found 2"),
    "counts too many": (lambda f: f.signed(class_counts=[0] * 300), "3 class counts, found 300"),
    "count negative": (lambda f: f.signed(class_counts=[-5, 10, 105]), "'class_counts.0'"),
    "count under the minimum": (lambda f: f.signed(class_counts=[5, 10, 105]), "found 5"),
    "count not rounded": (lambda f: f.signed(class_counts=[0, 12, 105]), "in steps of 5"),
    "count is a float": (lambda f: f.signed(class_counts=[0, 10.0, 105]), "a valid integer"),
    "count is a bool": (lambda f: f.signed(class_counts=[False, 10, 105]), "a valid integer"),
    "count is huge": (lambda f: f.signed(class_counts=[0, 10, 10**20]), "less than or equal"),
    # Sequence
    "sequence negative": (lambda f: f.signed(sequence=-1), "greater than or equal to 0"),
    "sequence a float": (lambda f: f.signed(sequence=7.0), "a valid integer at 'sequence'"),
    "sequence a bool": (lambda f: f.signed(sequence=True), "a valid integer at 'sequence'"),
    "sequence text": (lambda f: f.signed(sequence="7"), "a valid integer at 'sequence'"),
    "sequence null": (lambda f: f.signed(sequence=None), "a valid integer at 'sequence'"),
    "sequence huge": (lambda f: f.signed(sequence=2**60), "less than 9007199254740992"),
    "sequence beyond 64 bits": (lambda f: f.signed(sequence=10**23), "'sequence'"),
    # Tensors against the layout
    "tensor missing": (
        lambda f: f.file(
            f.header(f.text(), entries={p.name: p.entry() for p in f.layout.places[1:]})
        ),
        "expected a tensor network/bn.running_mean, found none",
    ),
    "no tensor": (lambda f: f.file(f.header(f.text(), entries={})), "found none of that name"),
    "tensor more": (
        lambda f: with_entry(f, "x", {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        "found a tensor 'x'",
    ),
    "tensor with a path for a name": (
        lambda f: renamed(f, "network/fc.weight", "network/../../../etc/passwd"),
        "found a tensor 'network/../../../etc/passwd'",
    ),
    "tensor with a hostile name": (
        lambda f: renamed(f, "network/fc.weight", "\x1b[31m\n\u202e\0"),
        r"found a tensor '\x1b[31m\n\u202e\x00'",
    ),
    "wrong dtype": (
        lambda f: entries_with(f, "network/bn.running_var", dtype="I32"),
        "dtype F32 of network/bn.running_var, found 'I32'",
    ),
    "unknown dtype": (lambda f: entries_with(f, "network/fc.weight", dtype="PY"), "found 'PY'"),
    "wrong shape": (
        lambda f: entries_with(f, "network/conv.weight", shape=[3, 2]),
        "shape [2, 3] of network/conv.weight, found [3, 2]",
    ),
    "negative shape": (
        lambda f: entries_with(f, "network/conv.weight", shape=[-2, -3]),
        "found [-2, -3]",
    ),
    "enormous shape": (
        lambda f: entries_with(f, "network/conv.weight", shape=[2**62, 2**62]),
        "found [4611686018427387904",
    ),
    "shape of floats": (
        lambda f: entries_with(f, "network/conv.weight", shape=[2.0, 3]),
        CANONICAL,
    ),
    "offsets overlapping": (
        lambda f: entries_with(f, "network/bn.running_var", data_offsets=[4, 12]),
        "data_offsets [8, 16] of network/bn.running_var, found [4, 12]",
    ),
    "offsets with a gap": (
        lambda f: entries_with(f, "network/bn.running_var", data_offsets=[12, 20]),
        "found [12, 20]",
    ),
    "offsets reversed": (
        lambda f: entries_with(f, "network/bn.running_var", data_offsets=[16, 8]),
        "found [16, 8]",
    ),
    "offsets out of range": (
        lambda f: entries_with(f, "network/conv.weight", data_offsets=[2**40, 2**41]),
        "found [1099511627776",
    ),
    "offsets negative": (
        lambda f: entries_with(f, "network/conv.weight", data_offsets=[-6, 0]),
        "found [-6, 0]",
    ),
    "offsets of two tensors swapped": (swapped_offsets, "found [8, 16]"),
    "entry is null": (lambda f: with_entry(f, "network/conv.weight", None), "found None"),
    "entry without offsets": (
        lambda f: with_entry(f, "network/conv.weight", {"dtype": "I8", "shape": [2, 3]}),
        "dtype, shape and offsets of network/conv.weight",
    ),
    "entry with more": (
        lambda f: entries_with(f, "network/conv.weight", code="import os"),
        "dtype, shape and offsets of network/conv.weight",
    ),
    "digest missing": (
        lambda f: f.spelled(canonical_without_a_digest(f)),
        "'network/fc.weight' missing or unknown",
    ),
    "digest of no tensor": (
        lambda f: f.spelled(
            replaced(f.text(), '"tensors":{', '"tensors":{"a":"' + "0" * 64 + '",')
        ),
        "'a' missing or unknown",
    ),
    "digest too short": (
        lambda f: f.spelled(replaced(f.text(), '"tensors":{', '"tensors":{"a":"0",')),
        "at 'tensors.a'",
    ),
    # Bytes and numbers
    "tensors of another file": (
        lambda f: f.file(data=f.data({"network/conv.weight": torch.zeros(2, 3, dtype=torch.int8)})),
        "the tensor network/conv.weight that the manifest names, found other bytes",
    ),
    "NaN in a weight": (
        tensor_changed("network/fc.weight", NAN, 0, 0, 0, dtype=torch.float16),
        "finite numbers in network/fc.weight, found a NaN",
    ),
    "infinity in a mean": (
        tensor_changed("network/bn.running_mean", INF, 0),
        "finite numbers in network/bn.running_mean, found an infinity",
    ),
    "minus infinity in a mean": (
        tensor_changed("network/bn.running_mean", 0, -INF),
        "found an infinity",
    ),
    "negative variance": (
        tensor_changed("network/bn.running_var", 1, -1e-6),
        "variances of at least 0 in network/bn.running_var, found -1e-06",
    ),
    "huge variance": (tensor_changed("network/bn.running_var", 1, 1e30), "up to 1e+08"),
    "huge weight": (tensor_changed("network/bn.running_mean", -3e38, 0), "up to 1e+08"),
    "scale of zero": (
        tensor_changed("scale/conv.weight", 0.1, 0),
        "scales above 0 in scale/conv.weight, found 0",
    ),
    "negative scale": (tensor_changed("scale/conv.weight", 0.1, -0.1), "scales above 0"),
    "NaN as scale": (tensor_changed("scale/conv.weight", NAN, 1), "found a NaN"),
    "int8 of -128": (
        tensor_changed("network/conv.weight", 0, 0, 0, 0, 0, -128, dtype=torch.int8),
        "levels from -127 to 127",
    ),
    "correlation above 1": (
        tensor_changed(FEATURE_CORRELATIONS, 0, 1.001, 0, dtype=torch.float16),
        "correlations from -1 to 1, found 1",
    ),
    "correlation under -1": (
        tensor_changed(FEATURE_CORRELATIONS, -40000, 0, 0, dtype=torch.float16),
        "correlations from -1 to 1, found 4e+04",
    ),
    "correlations of no features": (
        tensor_changed(FEATURE_CORRELATIONS, 1, 1, -1, dtype=torch.float16),
        "expected correlations without a direction of negative variance, found such a direction",
    ),
    "correlations not quite of features": (
        tensor_changed(FEATURE_CORRELATIONS, 1, 1, 0.99, dtype=torch.float16),
        "a direction of negative variance",
    ),
    "correlation is NaN": (
        tensor_changed(FEATURE_CORRELATIONS, 0, NAN, 0, dtype=torch.float16),
        f"finite numbers in {FEATURE_CORRELATIONS}, found a NaN",
    ),
    "correlations of too few images": (
        lambda f: with_counts(f, [0, 10, 85]),
        "expected no correlations from fewer than 100 images, found some",
    ),
    "negative deviation": (
        tensor_changed(FEATURE_DEVIATIONS, 1, -0.25, 1),
        "deviations of at least 0, found -0.25",
    ),
    "deviation is infinite": (
        tensor_changed(FEATURE_DEVIATIONS, 1, INF, 1),
        f"finite numbers in {FEATURE_DEVIATIONS}, found an infinity",
    ),
    "deviations of no class": (
        lambda f: with_counts(f, [0, 0, 0], tensors=NO_MEANS | NO_CORRELATIONS),
        "deviations of zero where every class is under the minimum size",
    ),
    "mean of a suppressed class": (
        tensor_changed(FEATURE_MEANS, 0, 1e-3, 0, 1, 2, 3, 4, 5, 6),
        "means of zero for classes under the minimum size",
    ),
    "mean is NaN": (
        tensor_changed(FEATURE_MEANS, NAN, 0, 0, 1, 2, 3, 4, 5, 6),
        f"finite numbers in {FEATURE_MEANS}, found a NaN",
    ),
    # Files of other kinds
    "pickle": (lambda f: filled(f, b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR."), "header length"),
    "pickle of its own size": (lambda f: b"\x80\x02cposix\nsystem\n(S'id'\ntR.", SIZE),
    "zip": (lambda f: filled(f, zipped()), "header length"),
    "zip bomb": (lambda f: filled(f, zipped(bytes(10**7))), "header length"),
    "tar": (lambda f: filled(f, tarred()), "header length"),
    "gzip": (lambda f: filled(f, gzip.compress(f.file())), "header length"),
    "npz": (lambda f: filled(f, npz()), "header length"),
    "HDF5": (lambda f: filled(f, b"\x89HDF\r\n\x1a\n"), "header length"),
    "ELF": (lambda f: filled(f, b"\x7fELF\x02\x01\x01"), "header length"),
    "DICOM": (lambda f: filled(f, bytes(128) + b"DICM"), "header length"),
    "HTML": (lambda f: filled(f, b"<html><script>"), "header length"),
    "gzip behind a right length": (lambda f: raw_header(f, gzip.compress(b"x" * 90)), HEADER),
    "safetensors of a stranger": (
        lambda f: raw_header(f, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
        "found other metadata",
    ),
}


def canonical_without_a_digest(forge):
    document = json.loads(forge.text())
    del document["tensors"]["network/fc.weight"]
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def test_the_honest_file_is_read(forge):
    manifest, tensors, size = forge.read(forge.path(forge.file()))
    assert manifest.site == "north"
    assert tensors.keys() == forge.tensors.keys()
    assert all(torch.equal(tensors[name], forge.tensors[name]) for name in tensors)
    assert size == forge.layout.file_bytes


def test_few_images_without_correlations_are_read(forge):
    content = with_counts(forge, [0, 10, 85], tensors=NO_CORRELATIONS)
    manifest, tensors, _ = forge.read(forge.path(content))
    assert manifest.class_counts == (0, 10, 85)
    assert not tensors[FEATURE_CORRELATIONS].any()


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused(forge, name):
    make, fragment = FILES[name]
    assert fragment in str(the_refusal(forge, forge.path(make(forge))))


FACTORS = {
    "more than a feature": (
        tensor_changed(FEATURE_FACTORS, 127, 127, 0, 0, 0, 0, dtype=torch.int8),
        "expected common parts of at most 1.01 of a feature, found 2",
    ),
    "scale too large": (
        tensor_changed(FACTOR_SCALES, 1e8, 0.004, 1e-3),
        "expected common parts of at most 1.01 of a feature, found 1.61e+20",
    ),
    "scale is NaN": (
        tensor_changed(FACTOR_SCALES, NAN, 0.004, 1e-3),
        f"finite numbers in {FACTOR_SCALES}, found a NaN",
    ),
    "scale is infinite": (
        tensor_changed(FACTOR_SCALES, INF, 0.004, 1e-3),
        f"finite numbers in {FACTOR_SCALES}, found an infinity",
    ),
    "scale of zero": (
        tensor_changed(FACTOR_SCALES, 0, 0.004, 1e-3),
        f"scales above 0 in {FACTOR_SCALES}, found 0",
    ),
    "level of -128": (
        tensor_changed(FEATURE_FACTORS, -128, 0, 0, 0, 0, 0, dtype=torch.int8),
        f"levels from -127 to 127 in {FEATURE_FACTORS}, found -128",
    ),
    "factors of too few images": (
        lambda f: with_counts(f, [0, 10, 85]),
        "expected no correlations from fewer than 100 images, found some",
    ),
}


@pytest.mark.parametrize("name", FACTORS)
def test_bad_factors_are_refused(factor_forge, name):
    make, fragment = FACTORS[name]
    assert fragment in str(the_refusal(factor_forge, factor_forge.path(make(factor_forge))))


def test_honest_factors_are_read(factor_forge):
    _, tensors, _ = factor_forge.read(factor_forge.path(factor_forge.file()))
    assert tensors.keys() == factor_forge.tensors.keys()
    nothing = {FEATURE_FACTORS: torch.zeros(3, 2, dtype=torch.int8)}
    few = with_counts(factor_forge, [0, 10, 85], tensors=nothing)
    assert factor_forge.read(factor_forge.path(few))[0].class_counts == (0, 10, 85)


def test_there_are_many():
    assert len(FILES) >= 60


@pytest.mark.parametrize("name", [name for name in FILES if "sign" in name or "site" in name])
def test_doubts_about_the_signer_have_their_own_error(forge, name):
    make, _ = FILES[name]
    error = the_refusal(forge, forge.path(make(forge)))
    expected = ("64 bytes in base64", "does not match", "a site of the roster")
    assert isinstance(error, SignatureError) == any(part in str(error) for part in expected)


def test_a_site_cannot_sign_for_another(forge, other_key):
    text = forge.text()
    content = signature(forge, forge.signature(text, key=other_key))
    error = the_refusal(forge, forge.path(content))
    assert isinstance(error, SignatureError)
    assert "expected a signature by north" in str(error)


@pytest.mark.parametrize("latest", [7, 8, 2**53])
def test_a_repeated_or_older_file_is_refused(forge, latest):
    error = the_refusal(forge, forge.path(forge.file()), {"north": latest})
    assert isinstance(error, ReplayError)
    assert f"a sequence number above {latest} from north, found 7" in str(error)


@pytest.mark.parametrize("received", [{}, {"north": 6}, {"north": -1}, {"south": 99}])
def test_a_newer_file_is_read(forge, received):
    manifest, _, _ = forge.read(forge.path(forge.file()), received)
    assert manifest.sequence == 7


def test_statistics_that_the_policy_withholds(forge, change):
    policy = forge.study.statistics.model_copy(update={"release": ()})
    forge.study = change(forge.study, statistics=policy)
    forge.manifest |= {
        "study": forge.study.digest,
        "statistics": {**forge.manifest["statistics"], "release": []},
    }
    error = the_refusal(forge, forge.path(forge.file()))
    assert "the statistics that the policy releases, found class counts" in str(error)
    error = the_refusal(forge, forge.path(forge.signed(class_counts=None)))
    assert "the statistics that the policy releases, found a temperature" in str(error)


def test_no_file(forge, tmp_path):
    assert "found No such file" in str(the_refusal(forge, tmp_path / "north.safetensors"))
    missing = tmp_path / "none" / "north.safetensors"
    assert "found No such file" in str(the_refusal(forge, missing))


def test_a_link_is_not_followed(forge, tmp_path):
    target = forge.path(forge.file(), "target")
    link = tmp_path / "link.safetensors"
    link.symlink_to(target)
    assert "found a symbolic link" in str(the_refusal(forge, link))
    link.unlink()
    link.symlink_to("/dev/zero")
    assert "found a symbolic link" in str(the_refusal(forge, link))


def test_folders_pipes_and_sockets(forge, tmp_path):
    assert "found a folder" in str(the_refusal(forge, tmp_path))
    assert "found a folder" in str(the_refusal(forge, Path("/")))
    os.mkfifo(tmp_path / "pipe")
    assert "found a pipe or a device" in str(the_refusal(forge, tmp_path / "pipe"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert "expected a readable file" in str(the_refusal(forge, tmp_path / "s"))
    assert "found a pipe or a device" in str(the_refusal(forge, Path("/dev/zero")))


@pytest.mark.parametrize(
    "name",
    ["a\nb.safetensors", "\x1b[2Jx", "\u202exyz", "x" * 255, "-rf", "a b", "\udcff\udcfe"],
)
def test_hostile_file_names_are_shown_safely(forge, name):
    assert "found 0 bytes" in str(the_refusal(forge, forge.path(b"", name)))


def test_names_that_no_file_can_have(forge, tmp_path):
    assert "a NUL in it" in str(the_refusal(forge, tmp_path / "a\0b"))
    assert "File name too long" in str(the_refusal(forge, tmp_path / ("x" * 300)))
    assert "Not a directory" in str(the_refusal(forge, forge.path(b"", "file") / "below"))


def test_a_file_that_shrinks_or_grows_while_it_is_read(forge, monkeypatch):
    path = forge.path(forge.file())
    real = os.fstat

    def longer(descriptor):
        status = list(real(descriptor))
        status[6] = forge.layout.file_bytes
        return os.stat_result(status)

    monkeypatch.setattr("envoi.submission.intake.os.fstat", longer)
    path.write_bytes(forge.file()[:-1])
    assert "found a file that became shorter" in str(the_refusal(forge, path))
    path.write_bytes(forge.file() + b"x")
    assert "found a file that became longer" in str(the_refusal(forge, path))


def test_a_disk_that_fails(forge, monkeypatch):
    class Failing(io.FileIO):
        def readinto(self, _):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("envoi.submission.intake.FileIO", Failing)
    error = the_refusal(forge, forge.path(forge.file()))
    assert "expected a readable file, found Input/output error" in str(error)


def test_no_descriptor_is_left_open(forge, tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path, tmp_path / "none", forge.path(b"x"), forge.path(forge.file()[::-1])):
        the_refusal(forge, path)
    forge.read(forge.path(forge.file()))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_public_function_refuses_alike(forge, tmp_path):
    for content in (b"", forge.file(), struct.pack("<Q", 2**40) + b"{}"):
        with pytest.raises(SubmissionError) as caught:
            open_submission(forge.path(content), study=forge.study)
        assert "\n" not in str(caught.value)
        assert " or " in caught.value.problems[0].expected
