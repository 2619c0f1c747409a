"""A real PACS for tests: Orthanc on loopback, in a folder of its own."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PLUGIN = next(Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb.so*"), None)
INSTALLED = PROGRAM is not None and PLUGIN is not None


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Orthanc:
    """One server; it can be stopped and started again with what it holds."""

    user, password = "site", "open-sesame"
    aet = "TESTPACS"

    def __init__(self, folder):
        self.folder = folder
        self.http, self.dicom = free_port(), free_port()
        self.process = None
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": self.aet,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowFind": False,
            "DicomAlwaysAllowGet": False,
            "DicomAlwaysAllowStore": False,
            "DicomModalities": {"site": ["ENVOI", "127.0.0.1", 104]},
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {self.user: self.password},
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "StorageCompression": False,
        }
        self.settings = folder / "orthanc.json"
        self.settings.write_text(json.dumps(settings))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def start(self):
        log = (self.folder / "orthanc.log").open("ab")
        self.process = subprocess.Popen(
            [PROGRAM, str(self.settings)], stdout=log, stderr=log, cwd=self.folder
        )
        log.close()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.ask("/system")
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, (self.folder / "orthanc.log").read_text()
                time.sleep(0.1)
            else:
                return self
        raise AssertionError("Orthanc did not start")

    def stop(self):
        """End this very process, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None

    def ask(self, path, content=None, method=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", data=content, method=method
        )
        import base64

        word = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def store(self, content):
        return self.ask("/instances", content)

    def clear(self):
        for study in self.ask("/studies"):
            self.ask(f"/studies/{study}", method="DELETE")
