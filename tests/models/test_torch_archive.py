"""Reading files of torch.save without torch.load: values, what is refused, and that nothing of a file runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_tracker.errors import WeightsError
from ebm_tracker.models import torch_archive
from ebm_tracker.models.torch_archive import Inert, StoredTensor, open_torch_file, printable

LEGACY_START = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})


def zip_with(path: Path, data: bytes, **entries: bytes) -> Path:
    """An archive as torch writes it, around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in entries.items():
            archive.writestr(f"archive/{name.replace('__', '/')}", content)
    return path


def legacy_with(path: Path, data: bytes) -> Path:
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in LEGACY_START) + data + pickle.dumps([], 2))
    return path


def refusal(path: Path, inert: tuple[str, ...] = ()) -> str:
    with pytest.raises(WeightsError) as caught, open_torch_file(path, inert) as file:
        for value in file.content.values() if isinstance(file.content, dict) else ():
            file.read(value)
    message = str(caught.value)
    assert str(path.absolute()) in message and "\n" not in message
    return message


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_as_they_were_saved(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    saved = OrderedDict(
        whole=base,
        part=base[1, :, 1:3],  # a view with an offset, in the same storage
        turned=base.permute(2, 0, 1),
        spread=torch.tensor(2.5).expand(3, 2),
        half=torch.tensor([1.5, -2], dtype=torch.float16),
        brain=torch.tensor([3.0], dtype=torch.bfloat16),
        count=torch.tensor(7),
        none=torch.empty(0, 5),
        parameter=torch.nn.Parameter(torch.tensor([4.0])),
    )
    path = tmp_path / "x.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    with open_torch_file(path, ()) as file:
        assert file.layout == ("zip" if zipped else "legacy") and file.size == path.stat().st_size
        assert list(file.content) == list(saved)
        for key in reversed(list(saved)):  # in any order
            found = file.read(file.content[key])
            assert torch.equal(found, saved[key]) and found.dtype == saved[key].dtype and found.is_contiguous(), key


def test_listed_classes_become_inert(tmp_path: Path) -> None:
    # Written by hand: class toy.Meter, made without arguments, with attributes.
    data = b"\x80\x02}X\x01\x00\x00\x00mctoy\nMeter\n)\x81}X\x03\x00\x00\x00avgK\x05sbs."
    path = zip_with(tmp_path / "a.pth", data)
    assert "toy.Meter" in refusal(path)
    with open_torch_file(path, ("toy.Meter",)) as file:
        meter = file.content["m"]
    assert isinstance(meter, Inert) and meter.attributes == {"avg": 5} and meter.global_name == "toy.Meter"


class Payload:
    """Unpickled by the ordinary means, it makes a folder."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_payload_does_not_run_and_is_named(tmp_path: Path, zipped: bool, protocol: int) -> None:
    path, made = tmp_path / "evil.pth.tar", tmp_path / "made by the payload"
    content = {"net": OrderedDict(a=torch.ones(2)), "settings": [Payload(made)]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    message = refusal(path, ("ltr.admin.settings.Settings",))
    assert f"{os.name}.mkdir" in message and "not called" in message
    assert not made.exists()
    torch.load(path, weights_only=False)  # what it would have done
    assert made.is_dir()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"\x80\x02cbuiltins\neval\nX\x04\x00\x00\x001+1)\x85R.", "builtins.eval"),
        (b"\x80\x02(cbuiltins\nexec\nX\x01\x00\x00\x00xo.", "builtins.exec"),
        (b"(ibuiltins\nexec\n.", "builtins.exec"),  # the opcode INST
        (b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.", "builtins.getattr"),
        (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.", "collections.OrderedDict.fromkeys"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch.hub\nload\n.", "torch.hub.load"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"\x80\x02cltr.admin.settings\nSettings\n.", "ltr.admin.settings.Settings"),  # not listed here
    ],
)
def test_every_way_to_name_a_global_is_refused(tmp_path: Path, code: bytes, name: str) -> None:
    assert f" {name}, " in refusal(zip_with(tmp_path / "a.pth", code))
    assert f" {name}, " in refusal(legacy_with(tmp_path / "b.pth", code))
    bare = tmp_path / "c.pth"
    bare.write_bytes(code)
    assert f" {name}, " in refusal(bare)


@pytest.mark.parametrize(
    "code",
    [
        b"ccollections\nOrderedDict\n(N}X\x01\x00\x00\x00aK\x01stb.",  # attributes for the class itself
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nK\x01\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR.",  # a storage that is a number
        b"\x80\x02ccollections\nOrderedDict\n]\x85R.",  # filled at its making
        b"\x80\x02X\x07\x00\x00\x00storageQ.",
        b"\x80\x02(X\x06\x00\x00\x00modulectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.",
        b"\x80\x02K\x01K\x02s.",
        b"\x80\x02\x94.",
        b"\x80\x02\x82\x01.",  # an extension code that nobody registered
    ],
)
def test_strange_pickles_are_damaged_files(tmp_path: Path, code: bytes) -> None:
    assert "cut off or damaged" in refusal(zip_with(tmp_path / "a.pth", code))


def test_memory_and_stack_are_bounded(tmp_path: Path) -> None:
    memo = b"\x80\x02K\x01r\xff\xff\xff\x7f."  # asks the unpickler in C for a table of 2^32 entries
    assert "stores object 2147483647" in refusal(zip_with(tmp_path / "memo.pth", memo))
    deep = b"\x80\x02}K\x01" + b"\x85" * 200_000 + b"K\x02s."  # hashing the key would leave the C stack
    assert "tuples" in refusal(zip_with(tmp_path / "deep.pth", deep))
    many = b"\x80\x02(" + b"]" * (torch_archive.MAX_PICKLE_BYTES + 1) + b"l."
    assert "bytes of objects" in refusal(zip_with(tmp_path / "many.pth", many))
    assert "bytes of objects" in refusal(legacy_with(tmp_path / "many2.pth", many))
    allowed = b"\x80\x02}K\x01" + b"\x85" * torch_archive.MAX_TUPLES + b"K\x02s."
    with open_torch_file(zip_with(tmp_path / "allowed.pth", allowed), ()) as file:
        assert len(file.content) == 1


def tensor_pickle(count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """The pickle of {"x": a float tensor in storage "0" of that many numbers}."""

    class Stub:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, OrderedDict())

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(obj, Storage) else None

    file = io.BytesIO()
    Pickler(file, 2).dump({"x": Stub()})
    return file.getvalue()


@pytest.mark.parametrize(
    ("count", "offset", "shape", "stride"),
    [
        (4, 0, (5,), (1,)),
        (4, 2, (3,), (1,)),
        (4, 0, (2, 2), (3, 1)),
        (10**12, 0, (10**12,), (1,)),  # four terabytes
        (2**50, 0, (1,), (1,)),
        (4, -1, (1,), (1,)),
        (4, 0, (2, 2), (1,)),
        (5, 0, (5,), (1,)),  # the file holds four
    ],
)
def test_tensors_must_lie_inside_their_storage(
    tmp_path: Path, count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    data = tensor_pickle(count, offset, shape, stride)
    assert "damaged" in refusal(zip_with(tmp_path / "a.pth", data, data__0=struct.pack("<4f", 1, 2, 3, 4)))


def test_a_sound_tensor_of_that_kind_is_read(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "a.pth", tensor_pickle(4, 1, (3,), (1,)), data__0=struct.pack("<4f", 1, 2, 3, 4))
    with open_torch_file(path, ()) as file:
        assert isinstance(file.content["x"], StoredTensor)
        assert file.read(file.content["x"]).tolist() == [2, 3, 4]


@pytest.mark.parametrize("zipped", [True, False])
def test_cut_off_files(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "whole.pth"
    torch.save({"a": torch.rand(1000), "b": torch.rand(1000)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for keep in (1, 3, 30, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        message = refusal(path)
        assert "cut off or damaged" in message or (keep < 4 and "no file of torch.save" in message), (keep, message)


def test_a_flipped_bit_in_the_numbers_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.ones(1000)}, path)
    data = bytearray(path.read_bytes())
    place = data.index(torch.ones(500).numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert "CRC" in refusal(path)


def script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/constants.pkl", pickle.dumps((), 2))
        archive.writestr("archive/code/__torch__.py", "def forward(self): pass")


def packed(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": [0] * 1000}, 2))


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (b"", "is empty"),
        (b"\n  <!DOCTYPE html>\n<html><title>Quota exceeded</title></html>", "web page, probably a quota"),
        (b"\xef\xbb\xbf<HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "pointer of git-lfs"),
        (b"\x1f\x8b\x08\x00abc", "packed archive: unpack it"),
        (packed, "packed archive: unpack it"),
        (b"\x00\x01\x02\x03 numbers", "is no file of torch.save"),
        (b"just text", "is no file of torch.save"),
        (compressed, "is compressed"),
        (script, "TorchScript program"),
        (lambda path: path.write_bytes(pickle.dumps({"net": 1}, 2)), "not one that torch.save wrote"),
        (lambda path: zip_with(path, pickle.dumps(1, 2), byteorder=b"big"), "big-endian"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, write: bytes | Callable[[Path], object], expected: str) -> None:
    path = tmp_path / "atom_default.pth"
    path.write_bytes(write) if isinstance(write, bytes) else write(path)
    assert expected in refusal(path)


def test_a_zip_without_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no data")
    assert "zip archive without a checkpoint in it (no data.pkl)" in refusal(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "checkpoint not found" in refusal(tmp_path / "absent.pth")
    assert "is a folder" in refusal(tmp_path)


def test_names_from_files_cannot_write_to_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc") == "a?[2Jb?c"
    assert printable("x" * 300, 10) == "x" * 10 + "..."
