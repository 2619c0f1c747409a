"""What `ablation.py` compares: `envoi` without a part, with one more, or with another part."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.seeding import torch_generator
from envoi.server.bank import Source
from envoi.server.methods.envoi import REFINE_STEPS, envoi
from envoi.server.methods.from_bank import FromBank
from envoi.server.pooled import pooled_moments
from envoi.server.synthesis.moment_images import Drawn, MomentImages
from envoi.server.synthesis.refined import Refined
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.simulation.federation import Federation
from envoi.submission import Moments


@dataclass(frozen=True, slots=True)
class Variant:
    """A method and what differs in its budget."""

    method: FromBank
    budget: Mapping[str, float] = field(default_factory=dict)

    def student(
        self, federation: Federation, teachers: Teachers, budget: Budget, *, stream: str
    ) -> nn.Module:
        """A student of a federation's first architecture; `stream` names its random draws."""
        return self.method.fit(
            teachers,
            federation.study.network(),
            budget=replace(budget, **self.budget),  # type: ignore[arg-type]
            generator=torch_generator(federation.settings.seed, stream),
        )


@dataclass(frozen=True, slots=True)
class RealImages:
    """The training images themselves, as an ideal source."""

    images: Float[Tensor, "image channel height width"]

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """`count` of the images."""
        index = torch.randint(len(self.images), (count,), generator=generator)
        nobody = torch.full((count,), -1)
        return Drawn(self.images[index], nobody, nobody)


def from_source(source: Callable[[Teachers], Source]) -> Variant:
    """`envoi` with images from elsewhere."""
    return Variant(FromBank("ablation", source, envoi().teacher))


def pooled_images(teachers: Teachers) -> Source:
    """Joint synthesis: every image from the moments of all sites together."""
    pooled = pooled_moments(teachers.moments_for("pooled images"), teachers.class_counts.cpu())
    deviations = pooled.covariance.diagonal().clamp_min(1e-12).sqrt()
    correlations = pooled.covariance / deviations / deviations[:, None]
    same = Moments(pooled.means.float(), deviations.float(), correlations.float())
    members = tuple(replace(member, moments=same) for member in teachers.members)
    return MomentImages(Teachers(members, teachers.image))


def refined_by_all(teachers: Teachers) -> Source:
    """Images from moments, each moved by all networks at once."""
    return Refined(MomentImages(teachers), teachers, steps=REFINE_STEPS, joint=True)


def own_answers() -> Variant:
    """Each image is answered by the network of the site that it was drawn for, and by no other.

    METHODS section 4.2: if images were real, its optimum would be pooled training's classifier;
    where they betray their site, the student learns the site in place of the class.
    """
    known = _SitesOfImages()
    return Variant(FromBank("own answers", known.source, known.teacher))


class _SitesOfImages:
    """Remembers the sites of the images that it draws."""

    def __init__(self) -> None:
        self.sites: list[Tensor] = []

    def source(self, teachers: Teachers) -> Source:
        self.sites.clear()
        self._images = MomentImages(teachers, class_power=1.0)
        return self

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """Images, their classes as common as they are."""
        drawn = self._images.draw(count, generator)
        self.sites.append(drawn.sites)
        return drawn

    def teacher(self, teachers: Teachers) -> nn.Module:
        return _OwnAnswers(teachers, self.sites)


class _OwnAnswers(nn.Module):
    """The network of each image's site, in the order in which images were drawn."""

    def __init__(self, teachers: Teachers, sites: list[Tensor]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in teachers.members)
        self._sites = sites

    def over(self, batches: Iterable[Tensor]) -> Tensor:
        """Log-probabilities, as an own network's logits mean nothing beside another's."""
        together = zip(batches, self._sites, strict=True)
        return torch.cat([self._answers(images, sites) for images, sites in together])

    def _answers(self, images: Tensor, sites: Tensor) -> Tensor:
        answers = torch.stack([network(images) for network in self.networks])
        return answers[sites, torch.arange(len(images))].log_softmax(dim=1)


VARIANTS: dict[str, Variant] = {
    "envoi": Variant(envoi()),
    "without networks": Variant(envoi(networks=False)),
    "without closed form": Variant(envoi(moments_weight=0.0)),
    "Muon for matrices": Variant(envoi(), {"bank_matrix_rate": 0.02}),
    "procedural images": Variant(envoi(moment_images=False, refine_steps=0)),
    "procedural images, refined by their sites": Variant(envoi(moment_images=False)),
    "images refined by their sites": Variant(envoi(refine_steps=REFINE_STEPS)),
    "images refined by all sites": from_source(refined_by_all),
    "images of the pooled moments": from_source(pooled_images),
    "networks alone, pooled prior, images by class counts": Variant(
        envoi(class_power=1.0, prior_power=1.0, moments_weight=0.0)
    ),
    "the same, and answers of an image's own site": own_answers(),
    "images by class counts": Variant(envoi(class_power=1.0)),
    "pooled prior": Variant(envoi(prior_power=1.0)),
    "flat prior": Variant(envoi(prior_power=0.0)),
    "half of the images mixed": Variant(envoi(mixup=0.5)),
    "the same, and Muon": Variant(envoi(mixup=0.5), {"bank_matrix_rate": 0.02}),
    "half of the images noisy": Variant(envoi(noise=0.5)),
}
