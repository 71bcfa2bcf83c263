import builtins
import gzip
import importlib
import zipfile

import pytest

from energyaware.data.packed import PASSWORD_VARIABLE, member_names, open_source
from energyaware.errors import DataError

PASSWORD = "word"  # noqa: S105


def content_of(path, **options):
    source = open_source(path, **options)
    with source.open() as stream:
        return stream.read()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def encrypted(path, content=b"secret text", password=PASSWORD):
    pyzipper = pytest.importorskip("pyzipper")
    with pyzipper.AESZipFile(path, "w", compression=zipfile.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as file:
        file.setpassword(password.encode())
        file.writestr("data.csv", content)
    return path


def test_the_format_is_that_of_what_is_packed(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"x"))
    assert open_source(tmp_path / "a.jsonl.gz").suffix == ".jsonl"
    assert open_source(archive(tmp_path / "a.zip", **{"b/c.CSV": "x"})).suffix == ".csv"
    (tmp_path / "a.b.Parquet").touch()
    assert open_source(tmp_path / "a.b.Parquet").suffix == ".parquet"


def test_every_opening_starts_at_the_first_byte(tmp_path):
    source = open_source(archive(tmp_path / "a.zip", **{"a.csv": "abc"}))
    assert source.head(2) == b"ab"
    assert source.head(9) == b"abc"


def test_a_member_is_chosen_by_name(tmp_path):
    path = archive(tmp_path / "a.zip", **{"train.csv": "1", "test.csv": "2", ".hidden": "3"})
    assert content_of(path, member="test.csv") == b"2"
    with pytest.raises(DataError, match=r"holds 2 files: train\.csv, test\.csv.*member="):
        open_source(path)
    with pytest.raises(DataError, match=r"holds no file 'dev\.csv'; it holds train\.csv, test\.csv"):
        open_source(path, member="dev.csv")
    with pytest.raises(DataError, match="holds no file"):
        open_source(archive(tmp_path / "b.zip"))


def test_an_encrypted_archive_opens_with_its_password_only(tmp_path, monkeypatch):
    path = encrypted(tmp_path / "a.zip")
    assert content_of(path, password=PASSWORD) == b"secret text"
    with pytest.raises(DataError, match="does not open with this password"):
        open_source(path, password=f"not {PASSWORD}")
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(
        DataError, match=f"is encrypted. add password=… to the map, or set the variable {PASSWORD_VARIABLE}"
    ):
        open_source(path)
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    assert content_of(path) == b"secret text"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.zip"]


def test_an_encrypted_archive_says_what_to_install(tmp_path, monkeypatch):
    path = encrypted(tmp_path / "a.zip")

    def no_pyzipper(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", no_pyzipper)
    with pytest.raises(DataError, match=r"needs the package pyzipper. run `pip install pyzipper`"):
        open_source(path, password=PASSWORD)


def test_a_changed_encrypted_archive_is_damaged(tmp_path):
    path = encrypted(tmp_path / "a.zip", content=bytes(range(256)) * 8)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is a damaged archive.*check the password, and get the archive anew"):
        open_source(path, password=PASSWORD)


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
def test_a_bomb_is_not_unpacked(tmp_path, suffix):
    bomb, path = bytes(1 << 22), tmp_path / f"a.csv{suffix}"
    if suffix == ".zip":
        archive(path, **{"a.csv": bomb})
    else:
        path.write_bytes(gzip.compress(bomb))
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"to more than 1 MiB, which other splits leave of 256 MiB. unpack it yourself"):
        open_source(path, most=1 << 20)
    assert open_source(path, most=1 << 22).held_bytes == 1 << 22


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path):
    path = archive(tmp_path / "a.zip", **{"a.csv": bytes(1 << 22)})
    content = path.read_bytes()
    size = (1 << 22).to_bytes(4, "little")
    path.write_bytes(content.replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"damaged archive|unpacks to more than"):
        open_source(path, most=1 << 20)


def test_members_without_a_name_are_none(tmp_path):
    path = archive(tmp_path / "a.zip", **{"a.csv": "text"})
    path.write_bytes(path.read_bytes().replace(b"a.csv", b"\0.csv"))  # names end before a null byte
    with pytest.raises(DataError, match="holds no file"):
        open_source(path)


def test_an_archive_of_a_version_that_is_not_there_is_damaged(tmp_path):
    path = archive(tmp_path / "a.zip", **{"a.csv": "text"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 110  # the version needed to unpack
    path.write_bytes(content)
    for read in (member_names, open_source):
        with pytest.raises(DataError, match="zip file version 11"):
            read(path)


def test_reading_writes_nothing(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip", **{"a.csv": "text"})
    real_open = builtins.open

    def only_reading(file, mode="r", *args, **kwargs):
        assert not set(mode) & set("wax+"), f"{file} opened with mode {mode}"
        return real_open(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", only_reading)
    assert content_of(path) == b"text"
