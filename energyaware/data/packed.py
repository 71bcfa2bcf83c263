"""Open plain and packed files. What is packed is unpacked in memory, up to a limit, and never written to a disk."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from energyaware.data.display import one_line
from energyaware.errors import DataError

MAX_UNPACKED_BYTES = 1 << 28
PASSWORD_VARIABLE = "ENERGYAWARE_DATA_PASSWORD"  # noqa: S105, the name of a variable
STREAMS: Mapping[str, Callable[[Path], Any]] = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}
_ENCRYPTED = 0x1  # bit 0 of a member's flags, APPNOTE.TXT 4.4.4


@dataclass(frozen=True, slots=True)
class ByteSource:
    """Bytes that can be read again and again.

    Attributes:
        name: for messages; a member of an archive stands behind the archive's own path.
        suffix: lower-case extension that tells the format, that of packing taken off; "" where there is none.
        open: a new binary stream from the first byte, seekable.
        held_bytes: what it was unpacked to, which is kept in memory; 0 for what is read from the file itself.
    """

    name: str
    suffix: str
    open: Callable[[], IO[bytes]]
    held_bytes: int = 0

    def head(self, count: int) -> bytes:
        """The first bytes.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            with self.open() as stream:
                return stream.read(count)
        except OSError as error:
            raise DataError(
                f"{self.name} cannot be read ({error.strerror or error})", "check the path and its rights"
            ) from error


def open_source(
    path: Path, *, member: str | None = None, password: str | None = None, most: int = MAX_UNPACKED_BYTES
) -> ByteSource:
    """The bytes of a file, unpacked where its extension is `.gz`, `.bz2`, `.xz` or `.zip`.

    Args:
        path: an existing file.
        member: which file of a zip archive, where it holds several.
        password: of an encrypted zip archive; None takes it from the environment variable `PASSWORD_VARIABLE`.
        most: bytes to which it may unpack.

    Raises:
        DataError: damaged, larger than `most` when unpacked, a wrong or missing password, or a missing
            member.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _zip_member(path, member, password or os.environ.get(PASSWORD_VARIABLE), most)
    if suffix in STREAMS:
        return _in_memory(str(path), path.with_suffix("").name, _unpacked(path, STREAMS[suffix], most))
    return ByteSource(str(path), suffix, lambda: path.open("rb"))


def member_names(path: Path) -> tuple[str, ...]:
    """The files of a zip archive, without folders and without what macOS and editors leave there.

    Raises:
        DataError: a damaged archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(info.filename for info in _files(archive))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path} is a damaged archive ({one_line(error)})", "get the archive anew") from error


def _unpacked(path: Path, opener: Callable[[Path], Any], most: int) -> bytes:
    try:
        with opener(path) as stream:
            return _limited(stream, str(path), most)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path} cannot be unpacked ({one_line(error)})", "pack the file anew, or unpack it yourself"
        ) from error


def _limited(stream: IO[bytes], name: str, most: int) -> bytes:
    content = stream.read(most + 1)
    if len(content) > most:
        raise _too_large(name, most)
    return content


def _too_large(name: str, most: int) -> DataError:
    limit = f"{MAX_UNPACKED_BYTES >> 20} MiB"
    if most < MAX_UNPACKED_BYTES:
        limit = f"{most >> 20} MiB, which other splits leave of {limit}"
    return DataError(
        f"{name} unpacks to more than {limit}",
        "unpack it yourself if you trust it, and give what is unpacked",
    )


def _zip_member(path: Path, member: str | None, password: str | None, most: int) -> ByteSource:
    module: Any = zipfile
    try:
        with zipfile.ZipFile(path) as archive:
            info = _chosen(path, archive, member)
        name = f"{path}/{one_line(info.filename)}"
        if info.file_size > most:
            raise _too_large(name, most)
        encrypted = bool(info.flag_bits & _ENCRYPTED)
        if encrypted and password is None:
            raise DataError(
                f"{name} is encrypted", f"add password=… to the map, or set the variable {PASSWORD_VARIABLE}"
            )
        if encrypted and password is not None:
            # Python's own zipfile knows no AES.
            module = _pyzipper(path)
            archive = module.AESZipFile(path)
            archive.setpassword(password.encode())
        else:
            archive = zipfile.ZipFile(path)
        with archive, archive.open(info.filename) as stream:
            content = _limited(stream, name, most)
    except RuntimeError as error:
        # The type that zipfile and pyzipper raise for passwords; NotImplementedError, for methods, is one too.
        if isinstance(error, NotImplementedError):
            raise DataError(f"{path} is packed in an unknown way ({one_line(error)})", "unpack it yourself") from error
        raise DataError(f"{path} does not open with this password", "correct the password") from error
    except (zipfile.BadZipFile, module.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        # pyzipper has a BadZipFile of its own.
        hint = "check the password, and " if isinstance(error, zlib.error) or "HMAC" in str(error) else ""
        raise DataError(f"{path} is a damaged archive ({one_line(error)})", f"{hint}get the archive anew") from error
    return _in_memory(name, info.filename, content)


def _chosen(path: Path, archive: zipfile.ZipFile, member: str | None) -> zipfile.ZipInfo:
    files = _files(archive)
    names = [info.filename for info in files]
    shown = ", ".join(one_line(name, 60) for name in names[:10]) + (
        f" and {len(names) - 10} more" if len(names) > 10 else ""
    )
    if member is not None:
        if names.count(member) != 1:
            raise DataError(f"{path} holds no file {member!r}; it holds {shown or 'none'}", "name one of them")
        return files[names.index(member)]
    if not files:
        raise DataError(f"{path} holds no file", "give an archive with a data file in it")
    if len(files) > 1:
        raise DataError(f"{path} holds {len(files)} files: {shown}", "name one of them with member=…, or unpack them")
    return files[0]


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    # A damaged archive has members without a name, of which zipfile cannot say whether they are folders.
    named = [info for info in archive.infolist() if info.filename]
    return [info for info in named if not info.is_dir() and not _is_rubbish(info.filename)]


def _is_rubbish(name: str) -> bool:
    """What macOS and editors leave in archives."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def _in_memory(name: str, file_name: str, content: bytes) -> ByteSource:
    return ByteSource(name, PurePosixPath(file_name).suffix.lower(), lambda: io.BytesIO(content), len(content))


def _pyzipper(path: Path) -> Any:
    try:
        return importlib.import_module("pyzipper")
    except ImportError as error:
        raise DataError(
            f"{path} is encrypted, which needs the package pyzipper", "run `pip install pyzipper`"
        ) from error
