"""A frame in run lengths (PS3.5, annex G), which are byte planes, without what is no picture.

Each plane is walked until it has given all bytes of the picture, and ends there. Bits beside the
samples (`stored_bits`) are taken out of the bytes that are coded.
"""

import struct

from envoi.data.pacs.stored_bits import Sample

_HEADER = struct.Struct("<16I")
_MOST_PLANES = 15


def tables_of(sample: Sample) -> list[bytes | None]:
    """What each byte of a sample becomes, from its highest; None for a byte that stays as it is.

    Raises:
        ValueError: The sign of a sample would have to be carried from one byte to another.
    """
    places = range(sample.allocated // 8 - 1, -1, -1)
    return [None if sample.is_whole else _table(sample, place) for place in places]


def _table(sample: Sample, place: int) -> bytes:
    mask, above = (word >> 8 * place & 0xFF for word in (sample.mask, sample.above))
    with_sign, sign = sample.high // 8, 1 << sample.high % 8
    if sample.is_signed and place > with_sign:
        raise ValueError("a sign in another byte")
    has_sign = sample.is_signed and place == with_sign
    return bytes(byte & mask | (above if has_sign and byte & sign else 0) for byte in range(256))


def picture_of(frame: bytes, size: int, tables: list[bytes | None]) -> bytes:
    """What makes the picture of a frame.

    Args:
        frame: From its header; anything may stand behind and between its planes.
        size: Bytes of each plane, decoded.
        tables: What the bytes of each plane become.

    Raises:
        ValueError: It cannot be walked to its end.
    """
    if len(frame) < _HEADER.size:
        raise ValueError("not a frame of this syntax")
    count, *starts = _HEADER.unpack_from(frame)
    if not 0 < count == len(tables) <= _MOST_PLANES:
        raise ValueError("not a frame of this syntax")
    places = [*starts[:count], len(frame)]
    if places[0] < _HEADER.size or places != sorted(places):
        raise ValueError("planes that are not where the header says")
    planes = [
        _plane(frame[place:end], size, table)
        for place, end, table in zip(places[:-1], places[1:], tables, strict=True)
    ]
    lengths = [_HEADER.size, *(len(plane) for plane in planes)]
    offsets = [sum(lengths[: number + 1]) for number in range(count)]
    unused = [0] * (_MOST_PLANES - count)
    return b"".join([_HEADER.pack(count, *offsets, *unused), *planes])


def _plane(coded: bytes, size: int, table: bytes | None) -> bytes:
    """One plane to the run that ends it, filled up to an even length."""
    runs, place, made = [], 0, 0
    while made < size and place < len(coded):
        length = coded[place]
        # 80 is no run; above it one byte is repeated, below it bytes follow.
        count, bytes_coded = (257 - length, 1) if length > 128 else (length + 1, length + 1)
        if length == 128:
            count = bytes_coded = 0
        run = coded[place : place + 1 + bytes_coded]
        if len(run) <= bytes_coded:
            raise ValueError("a plane that is cut off")
        runs.append(run if table is None else run[:1] + run[1:].translate(table))
        place += 1 + bytes_coded
        made += count
    if made != size:
        raise ValueError("another plane than the size of the picture")
    plane = b"".join(runs)
    return plane + b"\0" * (len(plane) % 2)
