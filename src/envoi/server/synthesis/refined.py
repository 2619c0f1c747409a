"""A source whose images move towards what a site knows of its own: a few steps of inversion.

METHODS section 4.2: the images that another source draws are the start in place of noise, and each
is moved by the network of *its* site alone, towards the class that it was drawn for and that site's
batch-norm statistics. Every image stops after a number of steps of its own, so that a bank holds
the whole path from drawn to recognised. With `joint` all networks move every image, as FedISCA's.

Images that belong to no site are given one, `GROUP` neighbours the same: batch statistics of few
images are far from those of a site whatever the images show.

Memory: as `Inversion`'s for one batch of a bank and one network, wherever networks are kept. Of
networks without batch norm the class alone speaks.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from envoi.precision import computing
from envoi.server.bank import Source, stages_of
from envoi.server.synthesis.inversion import Images, Inversion
from envoi.server.synthesis.moment_images import CLASS_POWER, Drawn, pair_shares
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.transforms import clamped

GROUP = 64
# Adam's rate on pixels: a fifth of the rate from noise, as the way is shorter.
_RATE = 0.01


class Refined:
    """See the module.

    Args:
        source: Of the images to start with; those that belong to no site are given one.
        teachers: Whose networks move them.
        steps: At most, of an image.
        joint: Whether all networks move an image, or that of its site alone.
        class_power: Of the counts, when classes are drawn for images of nobody.
    """

    def __init__(
        self,
        source: Source,
        teachers: Teachers,
        *,
        steps: int,
        joint: bool = False,
        class_power: float = CLASS_POWER,
    ) -> None:
        self._source, self._image = source, teachers.image
        self._movers = (
            [teachers]
            if joint
            else [Teachers((member,), teachers.image) for member in teachers.members]
        )
        counts = teachers.class_counts.cpu()
        known = counts if counts.any() else torch.ones_like(counts)
        self._pairs = pair_shares(known, class_power)
        self._steps = steps
        small = Budget.preset("smoke", size_px=teachers.image.size_px)
        self._budget = replace(small, pixel_rate=_RATE)

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """`count` images, within the range of pixel values."""
        return self._refined(self._source.draw(count, generator), generator)

    def stages(self, count: int, generator: torch.Generator) -> list[tuple[str, Images]]:
        """How some images come about, for people; they are taken for images of nobody."""
        before = stages_of(self._source, count, generator)
        _, images = before[-1]
        nobody = torch.full((count,), -1)
        moved = self._refined(Drawn(images, nobody, nobody), generator).images
        return [*before, ("moved by the networks of sites", moved)]

    def _refined(self, drawn: Drawn, generator: torch.Generator) -> Drawn:
        sites, classes = self._given(drawn, generator)
        images = drawn.images.clone()
        for number, mover in enumerate(self._movers):
            own = (sites == number) | (len(self._movers) == 1)
            if own.any():
                images[own] = self._moved(images[own], classes[own], mover, generator)
        return Drawn(clamped(images, self._image), sites, classes)

    def _given(self, drawn: Drawn, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The images' sites and classes; those that have none are given some."""
        count = len(drawn.sites)
        groups = torch.multinomial(
            self._pairs.sum(dim=1), math.ceil(count / GROUP), replacement=True, generator=generator
        )
        sites = groups.repeat_interleave(GROUP)[:count]
        (classes,) = torch.multinomial(self._pairs[sites], 1, generator=generator).T
        given = drawn.sites >= 0
        return torch.where(given, drawn.sites, sites), torch.where(given, drawn.classes, classes)

    def _moved(
        self, images: Images, targets: Tensor, mover: Teachers, generator: torch.Generator
    ) -> Images:
        """Each image after a number of steps from none to all."""
        last = torch.randint(self._steps + 1, (len(images),), generator=generator)
        moved = images.clone()
        with torch.enable_grad(), computing("fp32", mover.device):
            path = Inversion(mover, self._budget, generator, start=images, targets=targets)
            for step in range(1, self._steps + 1):
                reached, _ = path.advance()
                ends = last == step
                moved[ends] = reached[ends.to(reached.device)].cpu()
        return moved
