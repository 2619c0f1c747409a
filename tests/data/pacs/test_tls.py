"""Certificates that are not trusted: each in plain words, by both protocols."""

import datetime as dt
import http.server
import ipaddress
import json
import socket
import ssl
import threading
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from envoi.data.pacs import Dicomweb, Dimse, PacsGoneError, PacsQuery, Tls, connected
from envoi.data.pacs.connect import Credentials
from envoi.data.pacs.source import DamagedObjectError, InstanceRef
from envoi.data.pacs.tls import context_of, distrusted
from envoi.errors import PacsError, SettingsError

pytestmark = pytest.mark.network

QUERY = PacsQuery(first_day=dt.date(2020, 1, 1), last_day=dt.date(2020, 1, 1))
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def certificate(folder, name, *, since=NOW - DAY, until=NOW + DAY, host="127.0.0.1"):
    """A certificate that signs itself, and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    built = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


class Empty(http.server.BaseHTTPRequestHandler):
    """An archive that has nothing."""

    status, headers_sent, body = 200, {}, []
    raw, kind = None, "application/dicom+json"

    def do_GET(self):
        content = json.dumps(self.body).encode() if self.raw is None else self.raw
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        told = (self.path, self.headers.get("Authorization"), self.headers.get("Host"))
        self.server.asked.append(told)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


@contextmanager
def serving(pem=None, handler=Empty, **changes):
    """A server on loopback, by TLS if it has a certificate."""
    handler = type("Handler", (handler,), changes)
    server = Server(("127.0.0.1", 0), handler)
    server.asked = []
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(server, protocol, tls):
    port = server.server_address[1]
    if protocol == "dicomweb":
        made = Dicomweb(f"https://127.0.0.1:{port}/dicom-web", tls=tls, timeout_seconds=10)
    else:
        made = Dimse(host="127.0.0.1", port=port, called_aet="PACS", tls=tls, timeout_seconds=5)
    with connected(made) as source:
        return source.studies(QUERY)


@pytest.mark.parametrize("protocol", ["dicomweb", "dimse"])
@pytest.mark.parametrize(
    ("words", "is_trusted", "told"),
    [
        ({"until": NOW - DAY / 2}, True, "found one that has expired. Have the certificate of"),
        ({"since": NOW + DAY / 2}, True, "found one that is not valid yet. Check the clocks"),
        ({"host": "127.0.0.2"}, True, "found one for another name"),
        ({}, False, "found one that signs itself. Give the hospital's authority"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_told(protocol, words, is_trusted, told, tmp_path):
    pem = certificate(tmp_path, "server", **words)
    tls = Tls(authorities=pem) if is_trusted else Tls()
    with serving(pem) as server, pytest.raises(PacsError, match=told) as found:
        ask(server, protocol, tls)
    assert not isinstance(found.value, PacsGoneError)
    assert found.value.exit_code == 3
    assert str(tmp_path) not in str(found.value)


def test_a_certificate_that_is_trusted_is(tmp_path):
    pem = certificate(tmp_path, "server")
    with serving(pem) as server:
        assert ask(server, "dicomweb", Tls(authorities=pem, certificate=pem)) == []


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"status": 403}, PacsError, "expected permission, found status 403"),
        ({"status": 500}, PacsError, "found status 500"),
        ({"status": 503}, PacsGoneError, "found status 503"),
        ({"status": 302, "headers_sent": {"Location": "/login"}}, PacsError, "a way elsewhere"),
        ({"body": "planted"}, PacsError, "expected DICOM JSON, found something else"),
        ({"body": {"a": 1}}, PacsError, "expected DICOM JSON, found something else"),
        ({"body": [1]}, PacsError, "expected DICOM JSON, found something else"),
    ],
)
def test_answers_that_are_none_are_told(changes, kind, told):
    with serving(**changes) as server:
        made = Dicomweb(f"http://127.0.0.1:{server.server_address[1]}/x", timeout_seconds=5)
        with connected(made) as source, pytest.raises(PacsError, match=told) as found:
            source.studies(QUERY)
    assert type(found.value) in {kind, *kind.__subclasses__()} - (
        {PacsGoneError} if kind is PacsError else set()
    )
    assert "planted" not in str(found.value)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("multipart/related; boundary=x", b"--x\r\n\r\nplanted junk\r\n--x--"),
        ("multipart/related; boundary=x", b"--x--"),
        ("text/html", b"planted page"),
        ("application/dicom", b"planted"),
    ],
)
def test_an_image_that_is_none_is_told(kind, raw):
    with serving(raw=raw, kind=kind) as server:
        made = Dicomweb(f"http://127.0.0.1:{server.server_address[1]}/x", timeout_seconds=5)
        wanted = InstanceRef(study="1.2", series="1.2.3", instance="1.2.3.4")
        with connected(made) as source, pytest.raises(DamagedObjectError) as found:
            source.fetch(wanted)
    assert "expected one DICOM file, found something else" in str(found.value)
    assert "planted" not in str(found.value)


def test_an_archive_says_how_long_to_wait():
    with serving(status=503, headers_sent={"Retry-After": "7"}) as server:
        made = Dicomweb(f"http://127.0.0.1:{server.server_address[1]}/x", timeout_seconds=5)
        with connected(made) as source, pytest.raises(PacsGoneError) as found:
            source.studies(QUERY)
    assert found.value.after_seconds == 7


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ({}, None),
        ({"user": "a", "password": "b"}, "Basic YTpi"),
        ({"token": "t"}, "Bearer t"),
    ],
)
def test_credentials_are_sent_as_given_and_no_environment_is_asked(words, sent, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving() as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/x"
        with connected(Dicomweb(url, Credentials(**words))) as source:
            assert source.studies(QUERY) == []
    ((path, authorization, host),) = server.asked
    assert host == f"127.0.0.1:{server.server_address[1]}"
    assert path.startswith("/x/studies?")
    assert "StudyDate=20200101-20200101" in path
    assert authorization == sent
    assert repr(Credentials(**words)) == "Credentials()"


def test_a_first_page_that_comes_again_and_again_ends():
    answer = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00100020": {"Value": [None]}}
    with serving(body=[answer]) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/x"
        with connected(Dicomweb(url)) as source:
            assert [study.study for study in source.studies(QUERY)] == ["1.2"]
    assert len(server.asked) == 2


def test_a_silent_archive_is_not_waited_for_for_ever():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        made = Dicomweb(f"http://127.0.0.1:{port}/x", timeout_seconds=0.2)
        with connected(made) as source, pytest.raises(PacsGoneError, match="none in time"):
            source.studies(QUERY)
        slow = Dimse(host="127.0.0.1", port=port, called_aet="PACS", timeout_seconds=0.2)
        with connected(slow) as source, pytest.raises(PacsGoneError, match="no connection"):
            source.studies(QUERY)


def test_files_that_are_no_certificates_are_told(tmp_path):
    path = tmp_path / "planted.pem"
    with pytest.raises(SettingsError, match="--tls-authorities: expected PEM certificates"):
        context_of(Tls(authorities=path))
    path.write_text("planted")
    with pytest.raises(SettingsError, match="--tls-authorities"):
        context_of(Tls(authorities=path))
    with pytest.raises(SettingsError, match="--tls-certificate: expected a PEM certificate"):
        context_of(Tls(certificate=path))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path):
    own = certificate(tmp_path, "own")
    key = ec.generate_private_key(ec.SECP256R1())
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(SettingsError, match="without a passphrase"):
        context_of(Tls(certificate=own, key=locked))


def test_other_errors_are_not_about_trust():
    assert distrusted(OSError("connection reset")) is None
    odd = distrusted(OSError("CERTIFICATE_VERIFY_FAILED: something new"))
    assert "Have the certificate of the PACS checked" in str(odd)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("pacs.example/dicom-web", "expected an address"),
        ("ftp://pacs.example", "expected an address"),
        ("https://pacs.example/x?a=1", "expected an address"),
        ("https://me:secret@pacs.example", "found one with a password"),
    ],
)
def test_addresses_are_checked(url, told):
    with pytest.raises(SettingsError, match=told) as found:
        Dicomweb(url)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("title", ["", "A" * 17, "A\\B", "A\n", " "])
def test_ae_titles_are_checked(title):
    with pytest.raises(SettingsError, match="--called-aet"):
        Dimse(host="h", port=1, called_aet=title)
    with pytest.raises(SettingsError, match="--calling-aet"):
        Dimse(host="h", port=1, called_aet="PACS", calling_aet=title)
