"""A site's images as network inputs: normalised once where they fit into memory."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from envoi.networks.classifier import Classifier, device_of
from envoi.transforms import Images, normalise
from envoi.types import ImageSet, ImageSpec

WHOLE_LIMIT_BYTES = 1 << 30
EVALUATION_BATCH = 256

Index = Int64[Tensor, " batch"]


class Inputs:
    """Normalised images and labels by index.

    Below `limit_bytes` all images are held as one float tensor (4 bytes a pixel); above it,
    each batch is normalised when it is asked for and only 8-bit pixels stay in memory.
    """

    def __init__(
        self, images: ImageSet, spec: ImageSpec, *, limit_bytes: int = WHOLE_LIMIT_BYTES
    ) -> None:
        self.labels = torch.from_numpy(images.labels)
        self._pixels, self._spec, self._whole = images.images, spec, None
        if 4 * images.images.size < limit_bytes:
            # Channels last in storage, so that picking images keeps the order CPUs like best.
            self._whole = normalise(images.images, spec).permute(0, 2, 3, 1).contiguous()

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Index) -> Images:
        """The images at `index`, normalised."""
        if self._whole is None:
            return normalise(self._pixels[index.numpy()], self._spec)
        return self._whole[index].permute(0, 3, 1, 2)


def batches(order: Int64[Tensor, " image"], size: int) -> list[Index]:
    """`order` cut into batches of `size`; none has one image, which batch norm cannot take.

    A last batch of one image joins the batch before it; the only image of a site is used twice.
    """
    if len(order) == 1:
        return [order.repeat(2)]
    parts = list(torch.split(order, size))
    if len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def logits_of(network: Classifier, inputs: Inputs, index: Index) -> Float[Tensor, "image class"]:
    """Logits of the images at `index` (one at least), on the CPU; the network evaluates."""
    network.eval()
    device = device_of(network)
    with torch.no_grad():
        parts = torch.split(index, EVALUATION_BATCH)
        return torch.cat([network(inputs.batch(part).to(device)).cpu() for part in parts])
