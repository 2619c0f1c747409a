"""What a reader of DICOM files may do; each choice that a file leaves open is a setting."""

import math
from dataclasses import dataclass

from envoi.errors import Problem, SettingsError

FRAMES = ("one", "middle", "all")
ORIENTATIONS = ("check", "stored", "standard")
POLARITIES = ("check", "photometric", "presentation")
WINDOWS = ("file", "stored", "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomReading:
    """See the module.

    Attributes:
        window: How values become grey from black to white. `file` by the file's own window or VOI
            table; values of 8 bits are taken whole if there is neither; `stored` by all that the
            stored bits can hold; `content` by the darkest and brightest value of each image,
            padding left out; or `CENTRE,WIDTH` in the units after rescaling (Hounsfield units of
            CT).
        frames: Of a file of several: `one` refuses it, `middle` takes the middle one, `all` takes
            each as an image of its own, with the file's label and patient.
        orientation: `check` refuses images that say they lie otherwise than they are read (left
            of the image is the patient's right, feet are below); `standard` turns them; `stored`
            takes all as they are.
        polarity: Where PhotometricInterpretation and PresentationLUTShape contradict each other on
            whether low values are black: `check` refuses, or the one that is named counts.
        allow_burned_in: Take images whose pixels hold annotations, by their own word, and
            ultrasound, endoscopy, secondary captures and whole slides that do not say.
    """

    window: str = "file"
    frames: str = "one"
    orientation: str = "check"
    polarity: str = "check"
    allow_burned_in: bool = False

    def __post_init__(self) -> None:
        _check("frames", self.frames, FRAMES)
        _check("orientation", self.orientation, ORIENTATIONS)
        _check("polarity", self.polarity, POLARITIES)
        if self.window not in WINDOWS:
            _ = self.centre_and_width

    @property
    def centre_and_width(self) -> tuple[float, float] | None:
        """Of the window that is told as numbers, if it is.

        Raises:
            SettingsError: The window is neither a known word nor two numbers.
        """
        if self.window in WINDOWS:
            return None
        try:
            centre, width = map(float, self.window.split(","))
        except ValueError:
            width = centre = 0.0
        if not (width >= 1 and math.isfinite(width) and math.isfinite(centre)):
            expected = f"one of {', '.join(WINDOWS)}, or CENTRE,WIDTH with a width of 1 or more"
            remedy = "Write for instance -600,1500 for lungs in CT."
            raise SettingsError(Problem(expected, repr(self.window)[:40], "window", remedy))
        return centre, width


def _check(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        expected = f"one of {', '.join(choices)}"
        raise SettingsError(Problem(expected, repr(value)[:40], name, "Choose one of them."))
