"""What is left out: the arms of the ablation, each as switches of `factory train` and `factory train pack`.

Trainings are named by their switches, so arms share what they have in common: the arm that leaves HDR out needs an
autoencoder and a feature generator of its own, but no synthesizer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from manifests.errors import InvalidValueError, UnknownNameError

__all__ = ["ARMS", "FULL", "Arm", "chosen_arms"]

Switches = tuple[str, ...]

FULL = "full"
"""The arm with everything, against which the others are compared."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to build the method.

    Attributes:
        title: as the paper's table calls it, or as it would.
        masks, autoencoder, latents: switches of the trainings of stages I, II and III.
        sampling: switches of `factory train pack`.
    """

    title: str
    masks: Switches = ()
    autoencoder: Switches = ()
    latents: Switches = ()
    sampling: Switches = ()

    def run(self, stage: str) -> str:
        """Name of the training of a stage; latents are of one autoencoder, so their name tells both."""
        switches: Switches = getattr(self, stage)
        told = [stage, *(switch.removeprefix("--") for switch in switches)]
        if stage == "latents":
            told += [switch.removeprefix("--") for switch in self.autoencoder]
        return "-".join(told)

    @property
    def draws_masks(self) -> bool:
        """Whether its masks differ from those of the full arm."""
        return bool(self.masks or self.sampling) or self.title == FULL

    @property
    def draws_images(self) -> bool:
        """Whether its images differ from those of the full arm."""
        return bool(self.autoencoder or self.latents or self.sampling) or self.title == FULL


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        FULL: Arm(FULL),
        "no-injection": Arm("no knowledge injection", masks=("--no-injection",), latents=("--no-injection",)),
        "no-pyramid": Arm("no anatomy preservation", autoencoder=("--no-pyramid",)),
        "no-hdr": Arm("no HDR", autoencoder=("--no-hdr",)),
        # masks would reach the image through the decoder, too
        "text-only": Arm("no mask", autoencoder=("--no-pyramid",), latents=("--no-masks",)),
        "mask-only": Arm("no text", latents=("--no-text",)),
        **{
            f"t-{t}": Arm(f"T = {t}", masks=("--diffusion-steps", str(t)), latents=("--diffusion-steps", str(t)))
            for t in (100, 250)
        },
        **{f"steps-{n}": Arm(f"{n} steps", sampling=("--sample-steps", str(n))) for n in (4, 8, 16, 64, 1000)},
        **{f"guidance-{scale}": Arm(f"guidance {scale}", sampling=("--guidance", str(scale))) for scale in (2, 4)},
    }
)
"""All arms by name; the full one draws in 32 steps without guidance under T = 1000."""


def chosen_arms(text: str) -> tuple[str, ...]:
    """Names separated by commas, or "all"; the full arm comes first.

    Raises:
        UnknownNameError: listing the arms there are.
        InvalidValueError: without the full arm, against which the others are compared.
    """
    names: Sequence[str] = [name.strip() for name in text.split(",") if name.strip()]
    names = list(ARMS) if text == "all" else list(dict.fromkeys(names))
    if strange := [name for name in names if name not in ARMS]:
        raise UnknownNameError(
            "--arms", got=", ".join(strange), need=f"some of {', '.join(ARMS)}", do="Choose among these."
        )
    if FULL not in names:
        raise InvalidValueError(
            "--arms", got=text, need=f"{FULL} among them, to compare with", do=f"Add {FULL}: what is trained is kept."
        )
    return (FULL, *(name for name in names if name != FULL))
