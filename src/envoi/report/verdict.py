"""What a run found, in plain sentences computed from its numbers, the unwelcome ones too."""

from envoi.report.findings import Findings, Role, Tested, role_of
from envoi.report.names import LOCAL, method_title, percent
from envoi.results import Metrics

COLLAPSE = 0.95


def verdict(findings: Findings) -> str:
    """One sentence: how the student does against the best site and pooled training."""
    if not findings.test_images:
        return (
            "The server held no test images: this report shows what was sent and what it cost, "
            "not how well the student answers."
        )
    if findings.student is None:
        return _without_student(findings)
    ours = findings.student.metrics.accuracy
    said = (
        f"The {method_title(findings.student.name)} answers {percent(ours.value)} of "
        f"{findings.test_images:,} test images correctly"
    )
    clauses = []
    if findings.best_site:
        clauses.append(_against_site(findings.student, findings.best_site))
    if findings.pooled and (reference := findings.pooled.metrics.accuracy.value) > 0:
        clauses.append(
            f"{percent(ours.value / reference, 0)} of what training on all images together "
            f"reaches ({percent(reference)})"
        )
    return f"{said}: {', and '.join(clauses)}." if clauses else f"{said}."


def notes(findings: Findings, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """What must be said beside the verdict, the unwelcome first."""
    student = findings.student
    if student is None:
        return ()
    found = [
        _commonest(student.metrics, class_names),
        _better(student, findings),
        _balanced(student, findings),
    ]
    return tuple(note for note in found if note)


def _without_student(findings: Findings) -> str:
    best = findings.rival or findings.best_site or findings.pooled
    if best is None:
        return "This run compared no method."
    return (
        f"No student was distilled; “{method_title(best.name)}” answers "
        f"{percent(best.metrics.accuracy.value)} of {findings.test_images:,} test images correctly."
    )


def _against_site(student: Tested, site: Tested) -> str:
    ours, theirs = student.metrics.accuracy, site.metrics.accuracy
    who = f"the best site alone ({site.name.removeprefix(LOCAL)}, {percent(theirs.value)}"
    if ours.value == theirs.value:
        return f"exactly as many as {who})"
    more = ours.value > theirs.value
    word = "more than" if more else "fewer than"
    apart = ours.low > theirs.high if more else ours.high < theirs.low
    return f"{word} {who})" if apart else f"{word} {who}; the intervals overlap)"


def _commonest(metrics: Metrics, class_names: tuple[str, ...]) -> str:
    """Says so when the student gives one and the same answer, or is no better than that."""
    truth = [sum(row) for row in metrics.confusion]
    answers = [sum(column) for column in zip(*metrics.confusion, strict=True)]
    total, top = sum(truth), max(range(len(answers)), key=answers.__getitem__)
    share, true = answers[top] / total, truth[top] / total
    if share >= COLLAPSE > true:
        return (
            f"It answers “{class_names[top]}” for {percent(share, 0)} of the images, though only "
            f"{percent(true, 0)} are: it has learnt little beside one class."
        )
    common = max(range(len(truth)), key=truth.__getitem__)
    if metrics.accuracy.value > truth[common] / total:
        return ""
    return (
        f"Answering “{class_names[common]}” every time would be right for "
        f"{percent(truth[common] / total)}: the student does not beat that."
    )


def _better(student: Tested, findings: Findings) -> str:
    """Names what does better than the student without being pooled or a single site."""
    rival = findings.rival
    if rival is None:
        return ""
    ours, theirs = student.metrics.balanced_accuracy, rival.metrics.balanced_accuracy
    if theirs.value <= ours.value:
        return ""
    price = {
        Role.ENSEMBLE: f", and must keep all {findings.sites_count} networks to answer",
        Role.ROUNDS: ", and moves the network up and down in every round",
    }.get(role_of(rival.name), "")
    return (
        f"“{method_title(rival.name)}” does better by balanced accuracy "
        f"({percent(theirs.value)} against {percent(ours.value)}){price}."
    )


def _balanced(student: Tested, findings: Findings) -> str:
    """Balanced accuracies of student, best site and pooled; says so if they turn the order."""
    ours = student.metrics.balanced_accuracy.value
    said = [f"student {percent(ours)}"]
    turned = ""
    if findings.best_site and findings.best_site_balanced:
        site = findings.best_site_balanced
        theirs = site.metrics.balanced_accuracy.value
        said.append(f"best site alone {percent(theirs)} ({site.name.removeprefix(LOCAL)})")
        lead = student.metrics.accuracy.value - findings.best_site.metrics.accuracy.value
        if lead > 0 > ours - theirs:
            turned = ", which the student loses"
        elif lead < 0 < ours - theirs:
            turned = ", which the student wins"
    if findings.pooled:
        pooled = findings.pooled.metrics.balanced_accuracy.value
        said.append(f"all images together {percent(pooled)}")
    return f"By balanced accuracy, where every class counts alike{turned}: {', '.join(said)}."
