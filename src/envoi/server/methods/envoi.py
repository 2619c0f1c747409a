"""Envoi's own method: images from moments, answers from a consensus, one distillation.

1. Every site sends its network, its class counts and, if the study asks for them, the moments
   of a fixed description of its images.
2. Images are drawn from the moments (`synthesis.moment_images`); without moments, procedural
   images in the sites' colours, which the sites' networks refine.
3. The teacher is the consensus of all networks and of the closed-form classifier on the pooled
   moments (`consensus`), under a chosen prior.
4. The student learns the teacher's answers on the images.

docs/method.md derives it; every part can be left out by an argument, which is what the ablations
do.
"""

from functools import partial

from envoi.server.bank import Source
from envoi.server.consensus import MOMENTS_WEIGHT, PRIOR_POWER, Consensus, Differences
from envoi.server.methods.from_bank import FromBank
from envoi.server.synthesis.mixed import Mixed
from envoi.server.synthesis.moment_images import CLASS_POWER, MomentImages, ProceduralImages
from envoi.server.synthesis.refined import Refined
from envoi.server.teacher import Teachers

# Of procedural images, whose students it brings closer to their teacher on validation images
# (benchmarks/student.py); those of images from moments it takes further away.
REFINE_STEPS = 10


def envoi(  # noqa: PLR0913  (parts of the method, each optional)
    *,
    name: str = "envoi",
    prior_power: float = PRIOR_POWER,
    moments_weight: float = MOMENTS_WEIGHT,
    networks: bool = True,
    differences: Differences | str = Differences.CLASSES,
    moment_images: bool = True,
    class_power: float = CLASS_POWER,
    mixup: float = 0.0,
    noise: float = 0.0,
    refine_steps: int | None = None,
) -> FromBank:
    """The method, with every part of it as an argument.

    Args:
        name: In the log.
        prior_power: Power of the pooled counts in the target prior.
        moments_weight: Say of the closed form for each image behind it; 0 leaves it out.
        networks: Whether the sites' networks answer.
        differences: Which differences of sites the teacher believes, where moments show them.
        moment_images: Whether images are drawn from moments; if not, they are procedural.
        class_power: Power of the pooled counts when the classes of images are drawn.
        mixup: Share of images that are mixed with another one (`synthesis.mixed`).
        noise: Share of images that get noise with a structure.
        refine_steps: Steps of inversion, at most, by which the network of an image's site moves it
            (`synthesis.refined`); None is `REFINE_STEPS` of procedural images and 0 of others.
    """
    teacher = partial(
        Consensus,
        prior_power=prior_power,
        moments_weight=moments_weight,
        networks=networks,
        differences=differences,
    )
    source = partial(
        _source,
        moment_images=moment_images,
        class_power=class_power,
        mixup=mixup,
        noise=noise,
        refine_steps=refine_steps,
    )
    return FromBank(name, source, teacher)


def _source(
    teachers: Teachers,
    *,
    moment_images: bool,
    class_power: float,
    mixup: float,
    noise: float,
    refine_steps: int | None,
) -> Source:
    source: Source = ProceduralImages(teachers)
    steps = REFINE_STEPS if refine_steps is None else refine_steps
    if moment_images and teachers.moments is not None:
        source = MomentImages(teachers, class_power=class_power)
        steps = refine_steps or 0
    if steps:
        source = Refined(source, teachers, steps=steps, class_power=class_power)
    if mixup or noise:
        source = Mixed(source, teachers.image, mixup=mixup, noise=noise)
    return source
