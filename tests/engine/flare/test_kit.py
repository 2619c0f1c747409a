import pytest

from envoi.engine.flare.kit import Role, load_kit, settings_text
from envoi.errors import SettingsError, StorageError
from envoi.study import write_study


@pytest.fixture
def kit(tmp_path, study):
    root = tmp_path / "north"
    (root / "startup").mkdir(parents=True)
    (root / "startup" / Role.SITE).write_text("{}")
    write_study(root / "local" / "study.toml", study)
    (root / "local" / "envoi.toml").write_text(settings_text(Role.SITE))
    return root


def test_a_kit_knows_whose_it_is_and_where_the_approved_file_lies(kit, study):
    found = load_kit(kit)
    assert (found.root, found.role, found.study.digest) == (kit, Role.SITE, study.digest)
    assert found.mailbox == kit / "outbox"
    assert found.students == kit / "students"


def test_a_site_may_name_another_folder(kit, tmp_path):
    settings = kit / "local" / "envoi.toml"
    settings.write_text(f'outbox = "{tmp_path / "elsewhere"}"\n')
    assert load_kit(kit).mailbox == tmp_path / "elsewhere"
    assert load_kit(kit).students == kit / "students"
    settings.write_text('outbox = "o"\nstudents = "/srv/students"\n')
    assert str(load_kit(kit).students) == "/srv/students"


def test_a_folder_without_a_kit_is_refused(tmp_path):
    with pytest.raises(StorageError, match="expected a kit, found a folder without one"):
        load_kit(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("outbox = 3", "expected a folder, found none"),
        ("", "expected a folder, found none"),
        ("outbox =", "expected a TOML file"),
        ('outbox = "o"\noutbx = "o"', "expected outbox and students alone, found 'outbx'"),
    ],
)
def test_wrong_settings_are_told(kit, text, complaint):
    (kit / "local" / "envoi.toml").write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        _ = load_kit(kit).mailbox
