"""A trained model as `envoi mri sample` and `envoi mri complete` use it: ready on a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envoi.cli.device import device_called
from envoi.cli.mri_options import GIB, fitted_to, precision_called, sex_called

if TYPE_CHECKING:
    from envoi.mri.given import Given
    from envoi.volumes import Sex, Volume


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to draw; None is any."""

    age_years: float | None
    sex: "Sex | None"

    @classmethod
    def called(cls, age_years: float | None, sex: str | None) -> "Person":
        """Of `--age` and `--sex`.

        Raises:
            SettingsError: There is no such sex.
        """
        return cls(age_years, None if sex is None else sex_called(sex))


class Drawing:
    """A trained model, ready to draw on a device.

    Attributes:
        card: Of the model.
        steps: Of the solver.
        fit_words: What `--memory-gib` chose; empty without it.

    Raises:
        SettingsError: The model cannot draw such a person, or does not fit the memory.
        StorageError: There is no model.
    """

    def __init__(
        self,
        run: Path,
        person: Person,
        memory_gib: float | None,
        steps: int | None,
        precision: str,
        device: str,
    ) -> None:
        from envoi.files import file_digest
        from envoi.mri.asked import check_asked
        from envoi.mri.modes import model_file, plan_of, read_card, read_model, usual_steps
        from envoi.precision import settled

        self._device = device_called(device)
        self._precision = settled(precision_called(precision), self._device)
        file, slabs, self.fit_words = model_file(run), 1, ""
        self.card, self._person = read_card(file), person
        check_asked(self.card, person.age_years, person.sex)
        if memory_gib is not None:
            plan = plan_of(self.card.mode, self.card.grid.shape, self.card.plan)
            fit = fitted_to(plan, "sample", memory_gib, precision, self._device.type)
            slabs, self._precision = fit.use.slabs_at_once, fit.use.precision
            self.fit_words = f"Tensors take {fit.bytes / GIB:.3f} GiB with {fit.words}."
        self._digest = file_digest(file)
        self._model = read_model(file, slabs_at_once=slabs).to(self._device)
        self.steps = steps or usual_steps(self.card.mode)

    def one(
        self, *, seed: int, number: int, given: "Given | None" = None
    ) -> "tuple[Any, dict[str, object]]":
        """The intensities of one volume, about 0 to 1, and what drawing it took."""
        from envoi.meter import device_name, metered
        from envoi.mri.drawing import drawn_intensities
        from envoi.mri.making import cost_entry

        with metered(self._device) as cost:
            voxels = drawn_intensities(
                self._model,
                self._person.age_years,
                self._person.sex,
                steps=self.steps,
                seed=seed,
                number=number,
                precision=self._precision,
                given=given,
            )
        return voxels, cost_entry(cost, device_name(self._device))

    def write(
        self,
        volume: "Volume",
        path: Path,
        seed: int,
        number: int,
        more: "Mapping[str, object]",
    ) -> None:
        """The file, and the sidecar that marks it as made and says how to make it again."""
        from envoi.data.nifti import write_nifti

        write_nifti(volume, path, {**self._made(seed, number), **more})

    def has_drawn(self, path: Path, seed: int, number: int) -> bool:
        """Whether an earlier call has drawn this very volume.

        Raises:
            StorageError: There is a volume of that name, drawn otherwise.
        """
        import json

        from envoi.data.nifti import sidecar_beside
        from envoi.errors import Problem, StorageError
        from envoi.files import read_json
        from envoi.wording import differences

        if not path.exists():
            return False
        remedy = "Choose another --out, or move the old files away."
        told = read_json(sidecar_beside(path), what="the sidecar of a volume", remedy=remedy)
        made = json.loads(json.dumps(self._made(seed, number)))
        before = {key: value for key, value in told.items() if key in made}
        if before != made:
            found = f"those of another ({'; '.join(differences(before, made))})"
            raise StorageError(Problem("volumes of this very command", found, "--out", remedy))
        return True

    def _made(self, seed: int, number: int) -> "dict[str, object]":
        """What the sidecar says of a volume's making."""
        from envoi.mri.drawing import sidecar_of

        made = sidecar_of(
            self.card,
            steps=self.steps,
            seed=seed,
            number=number,
            precision=self._precision,
            about={"Age": self._person.age_years, "Sex": self._person.sex},
        )
        return {**made, "ModelDigest": self._digest}
