"""The example of an outsider's method is short and runs as its page says."""

from pathlib import Path

import torch

from envoi.networks import build
from envoi.server.methods import method_called
from envoi.settings import Budget

EXAMPLE = Path(__file__).parent.parent / "examples" / "largest_site.py"


def test_the_example_is_short_and_gives_the_largest_sites_weights(teachers):
    assert len(EXAMPLE.read_text().splitlines()) < 60
    method = method_called("examples.largest_site:LargestSite")
    largest = max(teachers.members, key=lambda member: sum(member.class_counts))
    student = build(largest.architecture, channels=3, classes=len(teachers.class_names), seed=0)
    budget, draws = Budget.preset("smoke"), torch.Generator().manual_seed(0)
    made = method.fit(teachers, student, budget=budget, generator=draws)
    wanted = largest.network.state_dict()
    found = made.state_dict()
    assert torch.equal(found["fc.weight"], wanted["fc.weight"])
    assert not torch.equal(found["bn1.running_mean"], wanted["bn1.running_mean"])
