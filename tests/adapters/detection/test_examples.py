from __future__ import annotations

import torch
from torch.utils.data import DataLoader, Dataset

from ebm_tracker.adapters.detection import ImageExample, images_of, objects_of, pad_together

SIZES = ((4, 6), (9, 3), (5, 5))
COUNTS = (2, 0, 3)


def example(number: int) -> ImageExample:
    height, width = SIZES[number]
    count = COUNTS[number]
    generator = torch.Generator().manual_seed(number)
    return ImageExample(
        torch.tensor(number),
        torch.randint(1, 256, (3, height, width), dtype=torch.uint8, generator=generator),
        torch.tensor((height, width)),
        torch.rand(count, 4, generator=generator) + 1,
        torch.arange(1, count + 1),
    )


class Few(Dataset[ImageExample]):
    def __len__(self) -> int:
        return len(SIZES)

    def __getitems__(self, numbers: list[int]) -> list[ImageExample]:
        return pad_together([example(number) for number in numbers])


def test_a_batch_is_padded_and_taken_apart_again() -> None:
    (batch,) = DataLoader(Few(), batch_size=3)
    assert isinstance(batch, ImageExample) and batch.number.tolist() == [0, 1, 2]
    assert batch.image.shape == (3, 3, 9, 6) and batch.image.dtype == torch.uint8
    assert batch.boxes_xyxy.shape == (3, 3, 4) and batch.labels.tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 3]]
    assert not batch.image[0, :, 4:].any() and not batch.image[1, :, :, 3:].any()
    for number, (image, objects) in enumerate(zip(images_of(batch), objects_of(batch), strict=True)):
        own = example(number)
        assert torch.equal(image, own.image.float() / 255)
        assert torch.equal(objects["boxes"], own.boxes_xyxy) and objects["boxes"].shape == (COUNTS[number], 4)
        assert torch.equal(objects["labels"], own.labels) and objects["labels"].dtype == torch.int64
