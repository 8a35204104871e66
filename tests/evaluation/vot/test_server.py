"""The server against scripted requests, line by line."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.evaluation.vot import PolygonRule, TraxError, TraxServer
from ebm_tracker.evaluation.vot.messages import Message, parse_message

BoxXYWH = tuple[float, float, float, float]


@dataclass(frozen=True)
class Output:
    box_xywh: BoxXYWH
    score: float = 0.75
    status: str = "tracked"


@dataclass
class Mover:
    """Moves by a pixel a frame; notes what it was given."""

    calls: list[object] = field(default_factory=list)

    def initialize(self, frame: np.ndarray, box_xywh: BoxXYWH, color: str = "rgb") -> None:
        self.box = box_xywh
        self.calls.append((frame.shape, box_xywh, color))

    def track(self, frame: np.ndarray | None, color: str = "rgb") -> Output:
        if frame is not None and frame[0, 0, 0] == 255:
            raise RuntimeError("out of\nmemory")
        x, y, w, h = self.box
        self.box = (x + 1, y, w, h)
        self.calls.append(None if frame is None else int(frame[0, 0, 0]))
        return Output(self.box)



@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"a b {k}.png" for k in range(4)]
    for k, path in enumerate(paths):
        Image.new("RGB", (8, 6), (10 * k, 0, 0)).save(path)
    return paths


@dataclass
class Session:
    trackers: list[Mover]
    messages: list[Message]
    error: Exception | None = None


def talk(requests: str, **options) -> Session:  # type: ignore[no-untyped-def]
    replies = io.BytesIO()
    session = Session([], [])

    def new_tracker() -> Mover:
        session.trackers.append(Mover())
        return session.trackers[-1]

    try:
        TraxServer(io.BytesIO(requests.encode()), replies, new_tracker, "a tracker", **options).serve()
    except (TraxError, RuntimeError) as error:
        session.error = error
    found = [parse_message(line) for line in replies.getvalue().decode().splitlines()]
    session.messages = [message for message in found if message is not None]
    assert len(session.messages) == len(found)
    return session


def frame(path: Path) -> str:
    return f'@@TRAX:frame "file://{path}" \n'


def state(*box: float, confidence: str = "0.750000") -> Message:
    return Message("state", (",".join(f"{v:.4f}" for v in box),), {"confidence": confidence})


def test_greeting() -> None:
    (hello,) = talk("").messages
    assert hello.name == "hello" and hello.arguments == ()
    named = dict(hello.named)
    assert named.pop("trax.description").endswith("boxes, no masks")
    assert named == {
        "trax.version": "4",
        "trax.name": "a tracker",
        "trax.image": "path;",
        "trax.region": "rectangle;",
        "trax.channels": "color;",
    }
    (hello,) = talk("@@TRAX:quit\n", several_objects=True, polygons=PolygonRule.AREA).messages
    assert hello.named["trax.multiobject"] == "1" and hello.named["trax.region"] == "rectangle;polygon;"


def test_one_object(images: list[Path]) -> None:
    requests = f'some print\n@@TRAX:initialize "1,2,3,4" \n{frame(images[0])}{frame(images[1])}{frame(images[2])}'
    session = talk(requests + "@@TRAX:quit \n@@TRAX:nonsense\n")
    assert session.error is None
    assert session.messages[1:] == [
        state(1, 2, 3, 4, confidence="1.000000"),
        state(2, 2, 3, 4),
        state(3, 2, 3, 4),
    ]
    assert [tracker.calls for tracker in session.trackers] == [[((6, 8, 3), (1, 2, 3, 4), "rgb"), 10, 20]]


@pytest.mark.parametrize("restart", ["@@TRAX:initialize \n", ""])
@pytest.mark.parametrize("reuse", [True, False])
def test_the_next_sequence(images: list[Path], restart: str, reuse: bool) -> None:
    """vot-trax sends an initialize without a region first, other clients may not."""
    requests = f'@@TRAX:initialize "1,2,3,4"\n{frame(images[0])}{frame(images[1])}'
    requests += f'{restart}@@TRAX:initialize "5,6,7,8"\n{frame(images[2])}{frame(images[3])}'
    session = talk(requests, reuse=reuse)
    assert session.messages[-2:] == [state(5, 6, 7, 8, confidence="1.000000"), state(6, 6, 7, 8)]
    assert [len(tracker.calls) for tracker in session.trackers] == ([4] if reuse else [2, 2])


def test_several_objects_and_one_that_comes_later(images: list[Path]) -> None:
    requests = f'@@TRAX:initialize "1,2,3,4"\n@@TRAX:initialize "11,2,3,4"\n{frame(images[0])}{frame(images[1])}'
    requests += f'@@TRAX:initialize "0,0,4,0,4,2"\n{frame(images[2])}{frame(images[3])}'
    requests += f'@@TRAX:initialize\n@@TRAX:initialize "1,1,1,1"\n{frame(images[0])}'
    session = talk(requests, several_objects=True)
    one = "1.000000"
    assert session.messages[1:] == [
        state(1, 2, 3, 4, confidence=one), state(11, 2, 3, 4, confidence=one),
        state(2, 2, 3, 4), state(12, 2, 3, 4),
        state(3, 2, 3, 4), state(13, 2, 3, 4), state(0, 0, 4, 2, confidence=one),
        state(4, 2, 3, 4), state(14, 2, 3, 4), state(1, 0, 4, 2),
        state(1, 1, 1, 1, confidence=one),
    ]  # fmt: skip
    assert len(session.trackers) == 3  # the last sequence takes one of them


def test_a_frame_that_cannot_be_decoded(images: list[Path]) -> None:
    images[1].write_bytes(b"no image")
    session = talk(f'@@TRAX:initialize "1,2,3,4"\n{frame(images[0])}{frame(images[1])}{frame(images[2])}')
    assert session.trackers[0].calls[1:] == [None, 20] and len(session.messages) == 4


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ('@@TRAX:frame "file:///nowhere.jpg"\n', "a frame without an image, or without an object"),
        ('@@TRAX:initialize "1,2,3,4"\n@@TRAX:frame\n', "a frame without an image, or without an object"),
        ('@@TRAX:initialize "1,2,3,4"\n@@TRAX:frame "file:///nowhere.jpg"\n', "there is no image file:///nowhere.jpg"),
        ('@@TRAX:initialize "mask:0,0"\n', "regions must be a rectangle"),
        ('@@TRAX:state "1,2,3,4"\n', "the client sent 'state'"),
    ],
)
def test_the_client_is_told_what_went_wrong(requests: str, reason: str) -> None:
    session = talk(requests)
    assert isinstance(session.error, TraxError) and reason in str(session.error)
    assert session.messages[-1].name == "quit" and reason in session.messages[-1].named["trax.reason"]


def test_a_first_frame_that_cannot_be_decoded(images: list[Path]) -> None:
    images[0].write_bytes(b"no image")
    session = talk(f'@@TRAX:initialize "1,2,3,4"\n{frame(images[0])}')
    assert str(session.error) == f"the first frame {images[0]} cannot be decoded"


def test_a_tracker_that_fails(images: list[Path]) -> None:
    Image.new("RGB", (8, 6), (255, 0, 0)).save(images[1])
    session = talk(f'@@TRAX:initialize "1,2,3,4"\n{frame(images[0])}{frame(images[1])}{frame(images[2])}')
    assert isinstance(session.error, RuntimeError)
    assert session.messages[-1] == Message("quit", (), {"trax.reason": "RuntimeError: out of memory"})


def test_a_client_that_has_gone(images: list[Path]) -> None:
    class Gone(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    TraxServer(io.BytesIO(b""), Gone(), Mover, "a tracker").serve()
