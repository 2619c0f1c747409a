import pytest

from envoi.report.names import (
    decimal,
    duration,
    loss_title,
    method_gloss,
    method_title,
    percent,
    points,
    printable,
    shorten,
    size,
)

SPACE = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (163_424, "163 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_600, "1.00 MB"),
        (44_691_744, "44.7 MB"),
        (8.9e9, "8.90 GB"),
        (5.2e15, "5200 TB"),
    ],
)
def test_sizes_have_three_figures(amount, text):
    assert size(amount) == text.replace(" ", SPACE)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (94.2, "1 min 34 s"),
        (3599.7, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (4_000_000, "1,111 h 06 min"),
    ],
)
def test_durations_have_two_units(seconds, text):
    assert duration(seconds) == text.replace(" ", SPACE)


def test_known_and_unknown_names():
    assert method_title("pooled") == "All images together (upper reference)"
    assert method_title("local/bern") == "bern alone"
    assert method_title("my_new_method") == "my new method"
    assert method_gloss("my_new_method") == ""
    assert method_title("examples.largest_site:Largest_Site") == "Largest_Site"
    assert method_title("odd_module:") == "odd_module:"
    assert method_title("fedavg_rounds_1") == "Federated averaging, 1 round"
    assert method_title("fedprox_rounds_100") == "FedProx, 100 rounds"
    assert method_title("my_own_rounds_5") == "my own rounds, 5 rounds"
    assert method_gloss("fedavg_rounds_5") == method_gloss("fedavg_rounds") != ""
    assert loss_title("class_loss") == "Class loss of the synthetic images"
    assert loss_title("gate_loss") == "gate loss"
    assert percent(0.7125) == "71.2%"
    assert percent(1.014, 0) == "101%"


def test_shortened_names_keep_both_ends():
    assert shorten("short", 5) == "short"
    cut = shorten("university-hospital-07", 12)
    assert len(cut) <= 12
    assert cut.startswith("universi")
    assert cut.endswith("-07")


def test_characters_that_hide_or_reorder_text_are_replaced():
    assert printable("Zürich 東京\N{NO-BREAK SPACE}ok") == "Zürich 東京\N{NO-BREAK SPACE}ok"
    assert printable("a\u202eb\x00c\x1b[0m\u200bd") == "a\ufffdb\ufffdc\ufffd[0m\ufffdd"


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (0.1234, "+12.3"),
        (-0.05, "\N{MINUS SIGN}5.0"),
        (0.0, "0.0"),
        (-0.0004, "0.0"),
        (1, "+100.0"),
    ],
)
def test_differences_bear_their_sign(difference, text):
    assert points(difference) == text


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [
        (0.5, 2, False, "0.50"),
        (-0.5, 2, False, "\N{MINUS SIGN}0.50"),
        (0.5, 1, True, "+0.5"),
        (-12.34, 1, True, "\N{MINUS SIGN}12.3"),
    ],
)
def test_decimals_have_a_minus_sign_of_their_own(value, digits, signed, text):
    assert decimal(value, digits, signed=signed) == text
