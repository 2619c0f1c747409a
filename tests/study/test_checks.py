import base64

import pytest

from envoi.study.checks import _WEAK_KEYS, decode_key, is_site_id, mirrored_classes

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def add(a, b):
    """Sum of two points of edwards25519 (RFC 8032, section 5.1.4), affine."""
    (x, y), (u, v) = a, b
    cross = D * x * u * y * v % P
    return (
        (x * v + y * u) * pow(1 + cross, -1, P) % P,
        (y * v + x * u) * pow(1 - cross, -1, P) % P,
    )


def points(encoded):
    """Every point that a lenient decoder may take `encoded` for."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for x in (root, root * pow(2, (P - 1) // 4, P) % P):
        if x * x % P == square:
            return [(x, y % P), (-x % P, y % P)]
    return []


def times_eight(point):
    for _ in range(3):
        point = add(point, point)
    return point


def text(raw):
    return "ed25519:" + base64.b64encode(raw).decode()


@pytest.mark.parametrize("raw", sorted(_WEAK_KEYS), ids=lambda raw: raw.hex()[:8])
def test_every_weak_key_has_small_order(raw):
    assert points(raw)
    assert all(times_eight(point) == (0, 1) for point in points(raw))


def test_weak_keys_are_all_of_them():
    heights = {int.from_bytes(raw, "little") & (2**255 - 1) for raw in _WEAK_KEYS}
    torsion = {(0, 1)}
    for point in [p for raw in _WEAK_KEYS for p in points(raw)]:
        torsion.add(point)
    assert len(torsion) == 8
    spellings = {y + shift for _, y in torsion for shift in (0, P) if y + shift < 2**255}
    assert heights == spellings
    assert len(_WEAK_KEYS) == 2 * len(heights)


def test_a_good_key_is_decoded():
    raw = bytes(range(32))
    assert decode_key(text(raw)) == raw


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "does not begin"),
        ("rsa:" + "A" * 44, "does not begin"),
        ("ed25519:", "a key of 0 bytes"),
        ("ed25519:@@@@", "not base64"),
        ("ed25519:ключ", "not base64"),
        ("ed25519:" + "A" * 43, "not base64"),
        (text(bytes(31)), "31 bytes"),
        (text(bytes(33)), "33 bytes"),
        (text(bytes(range(32)))[:-2] + "9=", "standard form"),
        (text(bytes(32)), "weak key"),
    ],
)
def test_other_keys_are_not(given, message):
    with pytest.raises(ValueError, match=message):
        decode_key(given)


@pytest.mark.parametrize("site", ["a", "north-clinic", "0", "9-9", "a" * 63])
def test_site_ids(site):
    assert is_site_id(site)


@pytest.mark.parametrize(
    "site", ["", "-a", "A", "a_b", "a.b", "../x", "a/b", "a" * 64, "a\n", "é", "a\x00", " a"]
)
def test_what_is_no_site_id(site):
    assert not is_site_id(site)


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (("liver", "kidney-left", "kidney-right"), ("kidney-left", "kidney-right")),
        (("Right lung", "LEFT lung"), ("LEFT lung", "Right lung")),
        (("lungLeft", "lungRight"), ("lungLeft", "lungRight")),
        (("cleft palate", "normal"), None),
        (("left lung", "right kidney"), None),
        (("bright", "dark"), None),
    ],
)
def test_classes_that_differ_in_their_side_alone(names, pair):
    assert mirrored_classes(names) == pair
