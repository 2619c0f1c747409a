"""The page on synthetic volumes: one HTML file made of scores and of the volumes themselves.

Every word that is given is hostile text: the templates escape it, and the page's content policy
permits the viewer's two scripts and forbids frames, forms and every request.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envoi.evaluation.scores import VolumeScores
from envoi.files import write_text
from envoi.report.gallery import EmbeddedPicture
from envoi.report.rendering import POLICY, environment
from envoi.report.volumes import charts, table
from envoi.report.volumes.atlas import atlas, middles, picture, sheet
from envoi.report.volumes.neighbours import nearest_pairs, summary
from envoi.report.volumes.sets import VolumeSets, check_sets
from envoi.report.volumes.verdict import figures, notes, verdict
from envoi.report.volumes.viewer import shown, viewer


def write_volume_report(
    path: Path,
    scores: VolumeScores,
    sets: VolumeSets,
    *,
    model: Mapping[str, str] | None = None,
) -> None:
    """Write one HTML file that tells and shows how synthetic volumes compare with real ones.

    Equal inputs give equal bytes. The page holds pictures of real volumes, and one of them whole.

    Args:
        path: The file, .html.
        scores: What `envoi.evaluation.volumes.compare_volumes` found.
        sets: The volumes that were compared.
        model: What is known of the model, such as its mode and steps: names and values.

    Raises:
        ShapeError: The volumes are not those that were scored.
        StorageError: The file cannot be written.
    """
    check_sets(sets, scores)
    content = _content(scores, sets, model or {})
    write_text(path, environment().get_template("volumes.html.j2").render(content))


def _content(scores: VolumeScores, sets: VolumeSets, model: Mapping[str, str]) -> Mapping[str, Any]:
    view = viewer(sets)
    return {
        "policy": view.policy if view else POLICY,
        "scores": scores,
        "real_word": sets.real_word,
        "verdict": verdict(scores, sets.real_word),
        "notes": notes(scores, of_phantoms=sets.of_phantoms),
        "figures": figures(scores),
        "still": _still(sets),
        "viewer": view,
        "atlas": atlas(sets),
        "groups": table.groups(scores),
        "labels": [label for group in table.groups(scores) for label in group.labels],
        "rows": table.rows(scores),
        "distances": charts.frechet(scores),
        "steps": (charts.jumps(scores, sets), charts.spectrum(scores)),
        "regions": (charts.regions(scores), charts.effects(scores)),
        "pairs": nearest_pairs(scores, sets),
        "copies": summary(scores),
        "facts": {**model, **_facts(scores)},
    }


def _still(sets: VolumeSets) -> EmbeddedPicture:
    """The middle sections of the volumes that can be turned, for where they cannot."""
    told = shown(sets)
    drawn = sheet([middles(voxels, sets.grid) for _, voxels in told])
    titles = "; ".join(title for title, _ in told)
    return picture(drawn, f"Middle sections, top to bottom: {titles}")


def _facts(scores: VolumeScores) -> Mapping[str, str]:
    """How it was measured."""
    similarity = scores.synthetic.similarity
    return {
        "Voxels": " x ".join(str(size) for size in scores.shape),
        "Spacing": " x ".join(f"{step:g}" for step in scores.spacing_mm) + " mm",
        "Synthetic, held-out, training": f"{scores.synthetic.volumes}, {scores.held_out.volumes}, "
        f"{scores.training_volumes}",
        "Seams looked for at": f"{', '.join(map(str, scores.borders))}, and anywhere",
        "MS-SSIM": f"{similarity.pairs} pairs, {similarity.scales} scales, window "
        f"{similarity.kernel_voxels}, range {similarity.data_range:g}",
        "MMD of the table": "RBF kernel on " + scores.synthetic.discrepancy().features,
        "Seed": str(scores.seed),
    }
