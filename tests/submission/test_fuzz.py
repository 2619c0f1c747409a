"""Every byte of a file counts: flipped anywhere, the file is refused with one clear line."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envoi.errors import SubmissionError
from envoi.files import canonical_json
from envoi.submission import open_submission, write_submission

masks = st.integers(1, 255)
relaxed = settings(
    deadline=None, max_examples=2, suppress_health_check=list(HealthCheck), derandomize=False
)


def line_of(read):
    with pytest.raises(SubmissionError) as caught:
        read()
    line = str(caught.value)
    assert line.isascii()
    assert line.isprintable()
    assert len(caught.value.problems) == 1
    return line


@relaxed
@given(first=masks)
def test_every_byte_of_a_small_file(forge, first):
    honest = bytearray(forge.file())
    path = forge.path(bytes(honest))
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(honest):
            file.seek(position)
            file.write(bytes([byte ^ (1 + (first + 37 * position) % 255)]))
            line_of(lambda: forge.read(path))
            file.seek(position)
            file.write(bytes([byte]))
    forge.read(path)


@settings(relaxed, max_examples=60)
@given(data=st.data())
def test_several_changes_at_once(forge, data):
    content = bytearray(forge.file())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=2, unique=True)):
        content[position] ^= data.draw(masks)
    line_of(lambda: forge.read(forge.path(bytes(content))))


@settings(relaxed, max_examples=60)
@given(content=st.binary(max_size=300), length=st.integers(0, 2**64 - 1))
def test_any_bytes(forge, content, length):
    whole = length.to_bytes(8, "little") + content
    line_of(lambda: forge.read(forge.path(whole)))
    line_of(lambda: forge.read(forge.path(forge.file()[:8] + content.ljust(len(forge.file()) - 8))))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(relaxed, max_examples=100)
@given(data=st.data())
def test_any_value_in_any_field_of_a_signed_manifest(forge, data):
    manifest = json.loads(forge.text())
    key = data.draw(st.sampled_from(sorted(manifest)))
    value = data.draw(json_values)
    inner = manifest[key]
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        value = {**inner, data.draw(st.sampled_from(sorted(inner))): value}
    if value == inner:
        return
    text = canonical_json({**manifest, key: value})
    path = forge.path(forge.spelled(text))
    try:
        forge.read(path)
    except SubmissionError:
        line_of(lambda: forge.read(path))
    else:
        assert key in TOLD_FREELY


# What a site may tell one way or another: some other values of them make a valid file.
TOLD_FREELY = {"sequence", "temperature", "card"}


def test_bytes_of_a_real_file(study, key, make_release, change, tmp_path):
    small = change(study, weight_format="int8")
    path = tmp_path / "north.safetensors"
    write_submission(path, make_release(small), study=small, site="north", sequence=1, key=key)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    generator = np.random.default_rng(0)
    positions = [
        *generator.integers(0, header, 300).tolist(),
        *generator.integers(header, len(content), 40).tolist(),
    ]
    with path.open("r+b", buffering=0) as file:
        for position in positions:
            mask = int(generator.integers(1, 256))
            file.seek(position)
            file.write(bytes([content[position] ^ mask]))
            line_of(lambda: open_submission(path, study=small))
            file.seek(position)
            file.write(content[position : position + 1])
    assert open_submission(path, study=small).site == "north"
