"""docs/mri.md: its Python lines work as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envoi.data.nifti import read_nifti

DOCUMENT = Path(__file__).parent.parent / "docs" / "mri.md"


@pytest.mark.slow
def test_the_python_lines_train_draw_and_complete(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    made = [sys.executable, "-m", "envoi", "mri", "phantom", "--subjects", "6", "--out", "brains"]
    check = "assert completed.grid.is_like(volume.grid)"
    # Two threads that wait for each other on a busy machine are many times slower than one.
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    for command in (made, [sys.executable, "-c", f"{code}\n{check}"]):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=alone
        )
        assert done.returncode == 0, done.stderr
    volume = read_nifti(tmp_path / "synthetic.nii.gz")
    assert volume.grid.shape == (24, 28, 24)
    assert '"Seed": 0' in (tmp_path / "synthetic.json").read_text()
