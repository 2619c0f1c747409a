"""TLS towards an archive: what is trusted, and in plain words why it is not."""

import ssl

from envoi.data.pacs.source import Tls
from envoi.errors import PacsError, Problem, SettingsError

_REMEDIES = {
    "certificate has expired": "Have the certificate of the PACS renewed; nothing goes past this.",
    "certificate is not yet valid": "Check the clocks of this machine and of the PACS.",
    "mismatch": "Use the name that stands in the certificate of the PACS.",
    "self-signed": "Give the hospital's authority with --tls-authorities.",
    "self signed": "Give the hospital's authority with --tls-authorities.",
    "unable to get local issuer": "Give the hospital's authority with --tls-authorities.",
}
_FOUND = {
    "certificate has expired": "one that has expired",
    "certificate is not yet valid": "one that is not valid yet",
    "mismatch": "one for another name",
    "self-signed": "one that signs itself",
    "self signed": "one that signs itself",
    "unable to get local issuer": "one of an authority that is not known here",
}


def context_of(tls: Tls) -> ssl.SSLContext:
    """The settings as Python's `ssl` wants them.

    Raises:
        SettingsError: A file is missing, is no PEM file, or its key has a passphrase.
    """
    try:
        context = ssl.create_default_context(
            cafile=None if tls.authorities is None else str(tls.authorities)
        )
    except OSError as err:
        raise _unreadable("PEM certificates", "--tls-authorities") from err
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
        except (OSError, ValueError) as err:
            expected = "a PEM certificate and its key without a passphrase"
            raise _unreadable(expected, "--tls-certificate") from err
    return context


def distrusted(err: BaseException) -> PacsError | None:
    """The line for an error that is about the archive's certificate; None for other errors."""
    text = str(err)
    if "CERTIFICATE_VERIFY_FAILED" not in text and "certificate verify failed" not in text:
        return None
    for words, remedy in _REMEDIES.items():
        if words in text:
            problem = Problem("a certificate that is trusted", _FOUND[words], "PACS", remedy)
            return PacsError(problem)
    remedy = "Have the certificate of the PACS checked."
    return PacsError(Problem("a certificate that is trusted", "another", "PACS", remedy))


def _no_passphrase() -> str:
    # Without this OpenSSL asks at the terminal, and a job at night waits for ever.
    raise ValueError("a passphrase is needed")


def _unreadable(expected: str, option: str) -> SettingsError:
    remedy = "Check that the file is there, may be read and is PEM."
    return SettingsError(Problem(expected, "something else", option, remedy))
