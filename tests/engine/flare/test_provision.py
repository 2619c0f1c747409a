import json
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'envoi[flare]'")

from envoi.engine.flare.kit import Role, load_kit
from envoi.engine.flare.provision import CERTIFICATE_DAYS, Address, provision
from envoi.engine.flare.start import command_of, environment, prepare, take
from envoi.errors import EnvoiWarning, SettingsError, StorageError, StudyError
from envoi.study import write_study
from envoi.submission import generate_key, public_text
from tests.engine.flare.conftest import KEYS, study_of

pytestmark = pytest.mark.flare

ADDRESS = Address("server.example", 8443)
OTHERS = {"east": public_text(generate_key())}


def certificate(kit, name="client"):
    return x509.load_pem_x509_certificate((kit / "startup" / f"{name}.crt").read_bytes())


@pytest.fixture
def kits(tmp_path, study_file):
    provision(study_file, tmp_path / "kits", address=ADDRESS)
    return tmp_path / "kits"


def test_everyone_gets_a_kit(kits, study):
    assert {kit.name for kit in kits.iterdir()} == {".authority", "server", "coordinator", *KEYS}
    assert load_kit(kits / "server").role is Role.SERVER
    assert load_kit(kits / "coordinator").role is Role.COORDINATOR
    for site in KEYS:
        assert load_kit(kits / site).study.digest == study.digest
        startup = json.loads((kits / site / "startup" / "fed_client.json").read_text())
        assert startup["servers"][0]["service"] == {
            "target": "server.example:8443",
            "scheme": "grpc",
        }
        assert startup["client"]["connection_security"] == "mtls"
        assert startup["require_signed_jobs"] is True


def test_no_program_of_flare_and_no_looser_policy_lies_in_a_kit(kits):
    names = {path.name for path in kits.rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith((".sh", ".ipynb", ".sample"))}
    for path in kits.glob("*/local/authorization.json*"):
        assert json.loads(path.read_text())["permissions"]["project_admin"]["byoc"] == "none"


def test_secrets_can_be_read_by_their_owner_alone(kits):
    assert stat.S_IMODE(kits.stat().st_mode) == 0o700
    secret = [*kits.glob("*/startup/*.key"), kits / ".authority/envoi/state/cert.json"]
    assert len(secret) == 2 + len(KEYS) + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_the_authority_outlives_many_certificates(kits):
    now = datetime.now(UTC)
    site = certificate(kits / "north").not_valid_after_utc
    root = certificate(kits / "north", "client").issuer
    assert timedelta(CERTIFICATE_DAYS - 1) < site - now <= timedelta(CERTIFICATE_DAYS)
    pem = (kits / "north" / "startup" / "rootCA.pem").read_bytes()
    authority = x509.load_pem_x509_certificate(pem)
    assert authority.subject == root
    assert authority.not_valid_after_utc - now > timedelta(9 * 365)


def test_again_with_a_grown_roster_keeps_certificates_and_settings(kits, study_file):
    settings = kits / "north" / "local" / "envoi.toml"
    settings.write_text('outbox = "/srv/outbox"\n')
    before = certificate(kits / "north")
    (kits / "server" / "inbox" / "file").write_text("kept")
    roster = {site: public_text(key) for site, key in KEYS.items()}
    grown = study_of(sites={**roster, **OTHERS})
    write_study(study_file, grown)
    provision(study_file, kits, address=ADDRESS)
    assert certificate(kits / "north") == before
    assert settings.read_text() == 'outbox = "/srv/outbox"\n'
    assert (kits / "server" / "inbox" / "file").exists()
    for site in ("north", "east"):
        assert load_kit(kits / site).study.digest == grown.digest


def test_renewing_makes_one_new_certificate_of_the_same_authority(kits, study_file):
    names = {"north": "client", "west": "client", "server": "server", "coordinator": "client"}
    before = {name: certificate(kits / name, file) for name, file in names.items()}
    authority = (kits / "north" / "startup" / "rootCA.pem").read_bytes()
    provision(study_file, kits, address=ADDRESS, renew=["north", "server"])
    renewed = {
        name for name, file in names.items() if certificate(kits / name, file) != before[name]
    }
    assert renewed == {"north", "server"}
    assert (kits / "west" / "startup" / "rootCA.pem").read_bytes() == authority


@pytest.mark.parametrize(
    ("host", "port"), [("", 8002), ("a b", 8002), ("x" * 64, 8002), ("::1", 8002), ("s", 0)]
)
def test_an_address_that_no_certificate_can_hold_is_refused(host, port):
    with pytest.raises(SettingsError, match=r"--host|--port"):
        Address(host, port)


def test_what_cannot_be_provisioned_is_refused(tmp_path, study_file):
    write_study(study_file, study_of(sites={}))
    with pytest.raises(StudyError, match="expected a roster of sites, found none"):
        provision(study_file, tmp_path / "kits", address=ADDRESS)
    write_study(
        study_file, study_of(minimum_sites=1, sites={"server": public_text(generate_key())})
    )
    with pytest.raises(StudyError, match="found server, the name of another kit"):
        provision(study_file, tmp_path / "kits", address=ADDRESS)
    write_study(study_file, study_of())
    with pytest.raises(SettingsError, match="--renew: expected one of"):
        provision(study_file, tmp_path / "kits", address=ADDRESS, renew=["east"])
    assert not (tmp_path / "kits").exists()


def test_that_encrypted_submissions_are_not_carried_is_said(tmp_path, study_file):
    recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    write_study(study_file, study_of(server={"encryption": recipient}))
    with pytest.warns(EnvoiWarning, match="does not carry its encrypted submissions"):
        provision(study_file, tmp_path / "kits", address=ADDRESS)


def test_a_kit_is_run_by_one_process(kits):
    kit = load_kit(kits / "north")
    prepare(kit)
    held = take(kit)
    with pytest.raises(StorageError, match="north: expected a kit that nobody runs"):
        take(kit)
    assert os.get_inheritable(held)
    os.close(held)
    os.close(take(kit))


def test_a_kit_that_was_moved_keeps_everything_where_it_is_now(kits, tmp_path):
    moved = tmp_path / "moved"
    (kits / "server").rename(moved)
    prepare(load_kit(moved))
    text = (moved / "local" / "resources.json.default").read_text()
    assert str(moved / "store") in text
    assert str(kits) not in text
    assert environment(load_kit(moved))["TMPDIR"] == str(moved / "temporary")


def test_the_command_names_the_site_and_asks_for_certificates(kits):
    command = command_of(load_kit(kits / "south-clinic"))
    assert command[-4:] == [
        "secure_train=true",
        "uid=south-clinic",
        "org=south_clinic",
        "config_folder=config",
    ]
    with pytest.raises(SettingsError, match="found the coordinator's"):
        command_of(load_kit(kits / "coordinator"))
