"""Memory stays within 64 MiB of what the study declares, whatever a file claims of itself."""

import json
import subprocess
import sys

MEASURE = """
import json, sys
from pathlib import Path

from envoi.errors import SubmissionError
from envoi.study import Study
from envoi.submission import (
    Release, TrainingCard, generate_key, open_submission, public_text, submission_bytes,
    write_submission,
)
from envoi.types import ImageSpec

folder = Path(sys.argv[1])
key = generate_key()
study = Study(
    name="s", classes=("a", "b"), image=ImageSpec.of(3, 28), architectures=("resnet18",),
    minimum_sites=1, sites={"north": public_text(key)},
)
size = submission_bytes(study, "resnet18")


def peak():
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS"), lambda: status("VmHWM")


def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def growth(path):
    before, highest = peak()
    try:
        opened = open_submission(path, study=study)
    except SubmissionError as err:
        opened = str(err)
    return highest() - before, opened


def sparse(name, bytes_, start=b""):
    path = folder / name
    with path.open("wb") as file:
        file.write(start)
        file.truncate(bytes_)
    return path


growth(sparse("first", 10))
results = {"size": size}
results["ten gigabytes"] = growth(sparse("a", 10 * 2**30))
results["header of 2**62"] = growth(sparse("b", size, (2**62).to_bytes(8, "little")))
results["header of the file"] = growth(sparse("c", size, size.to_bytes(8, "little")))
network = study.network()
state = {name: tensor for name, tensor in network.state_dict().items() if tensor.dim()}
path = folder / "north.safetensors"
release = Release("resnet18", state, (10, 20), TrainingCard(1, 30))
write_submission(path, release, study=study, site="north", sequence=1, key=key)
del state, network, release
grown, submission = growth(path)
results["honest"] = (grown, submission.site)
del submission
content = bytearray(path.read_bytes())
content[-1] ^= 1
path.write_bytes(content)
del content
results["last byte changed"] = growth(path)
print(json.dumps(results))
"""
MIB = 2**20


def test_peak_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    size = results.pop("size")
    assert 42 * MIB < size < 43 * MIB
    assert results["honest"][1] == "north"
    assert results["honest"][0] < size + 64 * MIB
    assert results["last byte changed"][0] < size + 64 * MIB
    assert "other bytes" in results["last byte changed"][1]
    for name in ("ten gigabytes", "header of 2**62", "header of the file"):
        assert results[name][0] < 8 * MIB
        assert results[name][1].count("\n") == 0
    assert "found 10737418240 bytes" in results["ten gigabytes"][1]
