"""Lines of TraX, both ways; the samples are what vot-trax 4.0.2 sent and took."""

from __future__ import annotations

import pytest

from ebm_tracker.evaluation.vot.messages import Message, TraxError, format_message, parse_message


def test_a_greeting_of_vot_trax() -> None:
    line = (
        '@@TRAX:hello "k=v v" "trax.name=my \\"x\\" \\\\ name" "trax.family=" "trax.region=rectangle;polygon;" '
        '"trax.description=a\\nb" "trax.version=4" \n'
    )
    assert parse_message(line) == Message(
        "hello",
        (),
        {
            "k": "v v",
            "trax.name": 'my "x" \\ name',
            "trax.family": "",
            "trax.region": "rectangle;polygon;",
            "trax.description": "a\nb",
            "trax.version": "4",
        },
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("@@TRAX:initialize \n", Message("initialize")),
        ("@@TRAX:quit\r\n", Message("quit")),
        ('@@TRAX:initialize "1.0000,2.00,3,4.25" "p=q" \n', Message("initialize", ("1.0000,2.00,3,4.25",), {"p": "q"})),
        ('@@TRAX:frame "file:///a b/c=d.jpg" \n', Message("frame", ("file:///a b/c=d.jpg",))),
        ("@@TRAX:frame file:///a.jpg n=1\n", Message("frame", ("file:///a.jpg",), {"n": "1"})),
        ('@@TRAX:state "1,2,3,4" "confidence=0.5"', Message("state", ("1,2,3,4",), {"confidence": "0.5"})),
    ],
)
def test_messages(line: str, message: Message) -> None:
    assert parse_message(line) == message


@pytest.mark.parametrize("line", ["", "loading...\n", " @@TRAX:quit\n", 'print("@@TRAX:quit")\n'])
def test_other_lines_are_no_messages(line: str) -> None:
    assert parse_message(line) is None


@pytest.mark.parametrize("line", ['@@TRAX:frame "file:///a', '@@TRAX:frame "a"b"\n', '@@TRAX:frame a"b\n'])
def test_a_damaged_message(line: str) -> None:
    with pytest.raises(TraxError, match="a damaged TraX message"):
        parse_message(line)


@pytest.mark.parametrize("text", ["", "a b", 'a"b', "a\\b", "a\\nb", "a\nb", "\\", "file:///é/%20.jpg", "x" * 3000])
def test_round_trip(text: str) -> None:
    message = Message("frame", (text,), {"trax.reason": text})
    line = format_message(message)
    assert line.count("\n") == 1 and line.endswith("\n")
    assert parse_message(line) == message
