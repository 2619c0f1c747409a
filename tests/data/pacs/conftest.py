"""A real PACS for the tests of this room, skipped where Orthanc is not installed."""

import pytest

from tests.data.pacs.orthanc import INSTALLED, Orthanc


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if not INSTALLED:
        pytest.skip("Orthanc is not installed (apt-get install orthanc orthanc-dicomweb)")
    made = Orthanc(tmp_path_factory.mktemp("orthanc"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def orthanc(server):
    """The server, running and empty."""
    if server.process is None:
        server.start()
    server.clear()
    return server
