"""Files of ``torch.save``, read without ``torch.load``: only listed names are resolved, none of them to foreign code.

``torch.load(weights_only=True)`` is not used for files of unknown origin: before torch 2.6 it could be made to run
code (CVE-2025-32434), its allow-list has another form in every version since 2.4, and allowing a class means importing
it. Both formats are stable and small: a zip archive of ``data.pkl`` and one file per storage (torch >= 1.6), or four
pickles followed by the storages ("legacy", also behind the ending ``.pth.tar``). While the pickle is read no tensor is
made: tensors become :class:`StoredTensor`, and a caller that knows the shape it wants reads them one by one.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ebm_tracker.errors import WeightsError

MAX_PICKLE_BYTES = 4 << 20
"""Of the part without the tensors: 0.1 MB in pytracking's files. It bounds what objects can be made of it."""
MAX_TUPLES = 40_000
"""pytracking's files have some thousand; the bound keeps tuples from nesting deeper than the C stack can hash."""
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_TUPLE_CODES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_PUT_CODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


@dataclass(frozen=True)
class _Kind:
    """A storage class: the numbers that it holds."""

    dtype: torch.dtype

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: _Kind
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's numbers are, not read yet. ``shape`` and ``stride`` are what the file says, unchecked."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers in the file."""
        return self.storage.kind.dtype

    @property
    def stored_bytes(self) -> int:
        """What the storage it lies in should take in the file."""
        return self.storage.count * self.storage.kind.itemsize


class Inert:
    """Stands for an object of a listed class, which is never imported: its attributes, and no method."""

    global_name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        self = object.__new__(cls)
        self.attributes = {}
        return self

    attributes: dict[Any, Any]

    def __setstate__(self, state: Any) -> None:
        if type(state) is not dict:
            raise pickle.UnpicklingError(f"the state of {self.global_name} is no dictionary")
        self.attributes = state


class Table(dict[Any, Any]):
    """Stands for OrderedDict. What a pickle adds to the object itself, such as ``_metadata``, is dropped."""

    __slots__ = ()

    def __init__(self) -> None:  # filled item by item; a copy at each call could grow without bound
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        return None


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> StoredTensor:
    sizes = (offset, *shape, *stride)
    if not isinstance(storage, _Storage) or len(shape) != len(stride) or len(shape) > 8:
        raise pickle.UnpicklingError("a tensor without a storage or with a strange shape")
    if not all(type(size) is int and 0 <= size < 1 << 48 for size in sizes):
        raise pickle.UnpicklingError("a tensor whose shape is not of whole numbers")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: Any, *rest: Any) -> Any:
    return data


def _size(dimensions: Any = ()) -> tuple[int, ...]:
    if len(dimensions) > 8:
        raise pickle.UnpicklingError("a shape of more than 8 dimensions")
    return tuple(dimensions)


_KINDS = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_TORCH: dict[str, Any] = {
    "collections.OrderedDict": Table,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    **{f"{module}.{name}": _Kind(kind) for name, kind in _KINDS.items() for module in ("torch", "torch.cuda")},
}
_TORCH_INERT = ("torch.device", *(str(kind) for kind in _KINDS.values()))
"""What optimisers and settings may hold besides: neither is looked at."""


class _Reader(pickle.Unpickler):
    """Resolves listed names only, and to this module's own things."""

    def __init__(self, data: bytes, where: str, known: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._where, self._known = where, known
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in self._known:
            raise WeightsError(
                f"{self._where} names {printable(name)}, which no checkpoint of pytracking needs: it was not called, "
                f"and nothing of the file is used"
            )
        return self._known[name]

    def persistent_load(self, pid: Any) -> _Storage:
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
            raise pickle.UnpicklingError("a reference to something else than a storage")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, _Kind) or type(count) is not int or not 0 <= count < 1 << 48:
            raise pickle.UnpicklingError("a storage of unknown kind or size")
        if len(pid) == 6 and pid[5] is not None:  # a view of another storage: torch 0.3 and older
            raise pickle.UnpicklingError("a view of another storage")
        storage = self.storages.setdefault(str(key), _Storage(str(key), kind, count))
        if (storage.kind, storage.count) != (kind, count):
            raise pickle.UnpicklingError("a storage with two sizes")
        return storage


@dataclass(frozen=True)
class TorchFile:
    """An open file of torch.save. ``content``: what was saved, with :class:`Table`, :class:`StoredTensor` and
    :class:`Inert` in it; ``layout``: "zip" or "legacy"; ``size``: of the file, bytes."""

    path: Path
    layout: str
    content: Any
    size: int
    _storage_bytes: Callable[[_Storage], bytearray]

    def read(self, tensor: StoredTensor) -> Tensor:
        """The tensor, contiguous, on the CPU, in the file's type. Its shape has to be one that is wanted: checked
        here is only that it lies inside its storage, and the storage inside the file.

        Raises WeightsError where it does not.
        """
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
        if 0 in tensor.shape:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        if last >= tensor.storage.count or tensor.stored_bytes > self.size:
            raise _damaged(self.path, f"a tensor of shape {tensor.shape} lies outside its storage")
        numbers = torch.frombuffer(self._storage_bytes(tensor.storage), dtype=tensor.dtype)
        return torch.as_strided(numbers, tensor.shape, tensor.stride, tensor.offset).contiguous()


@contextmanager
def open_torch_file(path: str | Path, inert: Collection[str]) -> Iterator[TorchFile]:
    """Opens a file of ``torch.save``, of either format.

    ``inert``: full names of classes that may occur and become :class:`Inert`; besides them only tensors, OrderedDict
    and plain values may. Raises WeightsError, one sentence: no such file, what it is instead, damaged, cut off, or
    the first name that is not listed.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"{path.absolute()} is a folder: name one of the files in it")
    if not path.is_file():
        raise WeightsError(f"checkpoint not found: {path.absolute()}")
    known = dict(_TORCH)
    for name in (*_TORCH_INERT, *inert):
        known[name] = type("Inert", (Inert,), {"global_name": name})
    with open(path, "rb") as file:
        kind = file_kind(file)
        size = path.stat().st_size
        if kind == "zip":
            with _zip_archive(path, file) as archive:
                yield _read_zip(path, archive, size, known)
        elif kind == "pickle":
            yield _read_legacy(path, file, size, known)
        else:
            raise WeightsError(f"{path.absolute()} {kind}")


def file_kind(file: IO[bytes]) -> str:
    """ "zip", "pickle", or what the file is instead, as the end of a sentence."""
    start = file.read(512)
    file.seek(257)
    tar = file.read(5) == b"ustar"
    file.seek(0)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if not start:
        return "is empty: the download or the copy failed"
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        return "is a web page, probably a quota or error page of the download: fetch the file again"
    if text.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs, not the file itself: run git lfs pull"
    if start[:4] == b"PK\x03\x04":
        return "zip"
    if start[:1] == b"\x80" or _is_text_pickle(file):
        return "pickle"
    if start[:2] == b"\x1f\x8b" or tar:
        return "is a packed archive: unpack it (a checkpoint itself is none, whatever .tar in its name says)"
    return "is no file of torch.save (neither a zip archive nor a pickle)"


def _is_text_pickle(file: IO[bytes]) -> bool:
    """Protocols 0 and 1 have no mark at the start: whether it reads as one to its end."""
    data = file.read(MAX_PICKLE_BYTES)
    file.seek(0)
    try:
        codes = [code.name for code, _, _ in pickletools.genops(data)]
    except (ValueError, TypeError, OverflowError, UnicodeError, struct.error):
        return False
    return len(codes) > 1


def printable(text: str, limit: int = 100) -> str:
    """A text from a file for a message: one short line, nothing that a terminal acts on."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:limit])
    return shown + ("..." if len(text) > limit else "")


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path.absolute()} is cut off or damaged: {printable(what, 200)}")


def _too_large(path: Path) -> WeightsError:
    return WeightsError(
        f"{path.absolute()} holds more than {MAX_PICKLE_BYTES} bytes of objects besides its tensors: no checkpoint does"
    )


@contextmanager
def _zip_archive(path: Path, file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise _damaged(path, f"its table of contents cannot be read ({error})") from error
    with archive:
        yield archive


def _read_zip(path: Path, archive: zipfile.ZipFile, size: int, known: Mapping[str, Any]) -> TorchFile:
    names = archive.namelist()
    table = next((name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), None)
    if table is None:
        raise WeightsError(f"{path.absolute()} is a zip archive without a checkpoint in it (no data.pkl)")
    root = table[: -len("data.pkl")]
    if f"{root}constants.pkl" in names:
        raise WeightsError(f"{path.absolute()} is a TorchScript program, not a checkpoint")

    def entry(name: str, expected: int | None = None) -> bytes:
        try:
            info = archive.getinfo(name)
            if info.compress_type != zipfile.ZIP_STORED:
                raise _damaged(path, f"{name} is compressed, which torch.save never does")
            if expected is None and info.file_size > MAX_PICKLE_BYTES:
                raise _too_large(path)
            if expected is not None and info.file_size != expected:
                raise _damaged(path, f"{name} has {info.file_size} bytes, {expected} expected")
            return archive.read(info)
        except KeyError:
            raise _damaged(path, f"it holds no {name}") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise _damaged(path, str(error)) from error

    if f"{root}byteorder" in names and entry(f"{root}byteorder") != b"little":
        raise WeightsError(f"{path.absolute()} was written on a big-endian machine, which is not supported")
    data = entry(table)
    _scan(path, data)
    content = _unpickle(path, _Reader(data, str(path.absolute()), known))

    def storage_bytes(storage: _Storage) -> bytearray:
        return bytearray(entry(f"{root}data/{storage.key}", storage.count * storage.kind.itemsize))

    return TorchFile(path, "zip", content, size, storage_bytes)


def _read_legacy(path: Path, file: IO[bytes], size: int, known: Mapping[str, Any]) -> TorchFile:
    def section(names: Mapping[str, Any]) -> tuple[Any, dict[str, _Storage]]:
        start = file.tell()
        data = file.read(MAX_PICKLE_BYTES)
        length = _scan(path, data)
        file.seek(start + length)
        reader = _Reader(data[:length], str(path.absolute()), names)
        return _unpickle(path, reader), reader.storages

    # A foreign pickle may stand where the number should: it is read by the same rules, so that its names are told.
    magic = section(known)[0]
    if magic != LEGACY_MAGIC or section({})[0] != LEGACY_PROTOCOL:
        raise WeightsError(f"{path.absolute()} is a pickle, but not one that torch.save wrote")
    system = section({})[0]
    if type(system) is not dict or system.get("little_endian") is not True:
        raise WeightsError(f"{path.absolute()} was written on a big-endian machine, which is not supported")
    content, storages = section(known)
    places: dict[str, int] = {}
    keys = section({})[0]
    for key in keys if type(keys) is list else ():
        storage = storages.get(str(key))
        head = file.read(8)
        if storage is None or len(head) < 8 or struct.unpack("<q", head)[0] != storage.count:
            raise _damaged(path, f"storage {key!r} is not what the rest of the file says, or not there")
        places[storage.key] = file.tell()
        end = file.seek(storage.count * storage.kind.itemsize, io.SEEK_CUR)
        if end > size:
            raise _damaged(path, f"it has {size} bytes and should have at least {end}")

    def storage_bytes(storage: _Storage) -> bytearray:
        if storage.key not in places:
            raise _damaged(path, f"it holds no storage {storage.key!r}")
        file.seek(places[storage.key])
        return bytearray(file.read(storage.count * storage.kind.itemsize))

    return TorchFile(path, "legacy", content, size, storage_bytes)


def _scan(path: Path, data: bytes) -> int:
    """Length of the pickle at the start of ``data``. Raises WeightsError when it does not end there, or when it is
    made to use up memory or the stack: the C unpickler would allocate a table for any memo number."""
    end = tuples = 0
    try:
        for count, (code, argument, place) in enumerate(pickletools.genops(data)):
            end = (place or 0) + 1
            tuples += code.name in _TUPLE_CODES
            if code.name in _PUT_CODES and not 0 <= int(argument or 0) <= count:
                raise _damaged(path, f"its pickle stores object {argument} as number {count} or earlier")
            if tuples > MAX_TUPLES:
                raise WeightsError(f"{path.absolute()} holds more than {MAX_TUPLES} tuples: no checkpoint does")
    except (ValueError, TypeError, OverflowError, UnicodeError, MemoryError, struct.error) as error:
        if len(data) >= MAX_PICKLE_BYTES:
            raise _too_large(path) from error
        raise _damaged(path, f"its pickle does not end ({error})") from error
    return end  # STOP is one byte


def _unpickle(path: Path, reader: _Reader) -> Any:
    try:
        return reader.load()
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle can raise any kind, and only ours are meant for users
        raise _damaged(path, f"its pickle cannot be read ({type(error).__name__}: {error})") from error
