from __future__ import annotations

from pathlib import Path

import pytest

from ebm_tracker.settings import (
    KEYS,
    Settings,
    SettingsError,
    full_key,
    settings_path,
    template,
    variable_of,
    write_template,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, ".config"),
        ("linux", {"XDG_CONFIG_HOME": ""}, ".config"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, ".config"),
        ("freebsd14", {}, ".config"),
        ("darwin", {"XDG_CONFIG_HOME": "/xdg"}, "Library/Application Support"),
        ("win32", {}, "AppData/Roaming"),
    ],
)
def test_the_platforms_folder_below_home(home: Path, platform: str, environment: dict[str, str], expected: str) -> None:
    assert settings_path(environment, platform) == home / expected / "ebm-tracker" / "settings.toml"


def test_named_folders_and_files_win(home: Path) -> None:
    xdg = home / "xdg"
    assert settings_path({"XDG_CONFIG_HOME": str(xdg)}, "linux") == xdg / "ebm-tracker/settings.toml"
    assert settings_path({"APPDATA": str(xdg)}, "win32") == xdg / "ebm-tracker/settings.toml"
    assert settings_path({"EBM_SETTINGS": "~/mine.toml", "XDG_CONFIG_HOME": str(xdg)}, "linux") == home / "mine.toml"


def test_a_flag_beats_the_environment_and_that_the_file(home: Path) -> None:
    path = written(
        home,
        '[data]\ncoco = "/file/coco"\nlasot = "/file/lasot"\ntrackingnet = "/file/tn"\n[runs]\nworkspace = "~/runs"\n',
    )
    settings = Settings.load(
        ["photos=~/p", "data.lasot=/flag/lasot"],
        environment={"EBM_DATA_COCO": "/env/coco", "EBM_DATA_GOT10K": "~/got", "EBM_DATA_PHOTOS": "/env/p"},
        file=path,
    )
    assert settings.get("data.trackingnet") == Path("/file/tn")
    assert settings.get("trackingnet") == Path("/file/tn")
    assert settings.get("data.lasot") == Path("/flag/lasot")
    assert settings.get("data.coco") == Path("/env/coco")
    assert settings.get("photos") == home / "p"
    assert settings.get("data.got10k") == home / "got"
    assert settings.get("runs.workspace") == home / "runs"
    assert settings.get("data.bank") is None
    origins = [settings.found[f"data.{name}"].origin for name in ("trackingnet", "coco", "lasot")]
    assert origins == [str(path), "EBM_DATA_COCO", "--data"]


@pytest.mark.parametrize("text", ["coco", "coco=", "=x", "", "cocco=x", "dat.coco=x"])
def test_a_wrong_assignment_lists_the_names(home: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="--data takes NAME=PATH, NAME one of trackingnet, lasot, "):
        Settings.load([text], environment={"XDG_CONFIG_HOME": str(home)})


def test_an_equals_sign_in_the_path(home: Path) -> None:
    settings = Settings.load(["coco=/a=b"], environment={"XDG_CONFIG_HOME": str(home)})
    assert settings.get("coco") == Path("/a=b")


def test_an_empty_variable_is_none(home: Path) -> None:
    path = written(home, '[data]\ncoco = "/file/coco"\n')
    assert Settings.load(environment={"EBM_DATA_COCO": ""}, file=path).get("data.coco") == Path("/file/coco")


def test_a_relative_path_starts_at_the_file(home: Path) -> None:
    path = written(home, "[data]\ncoco = 'sets/coco'\n")
    assert Settings.load(environment={}, file=path).get("data.coco") == home / "sets" / "coco"


def test_byte_order_mark_and_windows_line_ends(home: Path) -> None:
    path = home / "settings.toml"
    path.write_bytes("\ufeff[data]\r\ncoco = 'D:\\sets\\Ä'\r\n".encode())
    assert Settings.load(environment={}, file=path).found["data.coco"].path.name.endswith("Ä")


def test_what_is_set_nowhere_names_key_file_variable_and_flag(home: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(home)}
    settings = Settings.load(environment=environment)
    with pytest.raises(SettingsError) as error:
        settings.require("data.trackingnet")
    assert str(error.value) == (
        "no path for data.trackingnet (TrackingNet: the folder that holds TRAIN_0, TRAIN_1, ...): give --data "
        "trackingnet=PATH, set EBM_DATA_TRACKINGNET, or write trackingnet under [data] in "
        f"{settings.file}, which is not there yet"
    )
    with pytest.raises(SettingsError, match="give PATH, set EBM_RUNS_WORKSPACE, or write workspace under .runs. in"):
        settings.require("workspace", "PATH")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[data]\ncocco = '/x'", "data.cocco"),
        ("[dat]\ncoco = '/x'", "dat.coco"),
        ("coco = '/x'", "unknown key coco"),
        ("[data]\ncoco = 3", "must be a path in quotes (got 3)"),
        ("[data]\ncoco = ''", "must be a path in quotes"),
        ("[data]\ncoco = ['/x']", "must be a path in quotes"),
        ("[data.coco]\nroot = '/x'", "must be a path in quotes"),
        ("[data]\ncoco = /x", "not TOML"),
        ('[data]\ncoco = "C:\\data"', "single quotes"),
        ("[data]\ncoco = '/x'\ncoco = '/y'", "not TOML"),
    ],
)
def test_errors_in_the_file_name_it(home: Path, text: str, expected: str) -> None:
    path = written(home, text)
    with pytest.raises(SettingsError) as error:
        Settings.load(environment={}, file=path)
    assert expected in str(error.value) and str(path) in str(error.value)
    if "unknown" in str(error.value):
        assert all(key in str(error.value) for key in KEYS)


def test_not_text(home: Path) -> None:
    path = home / "settings.toml"
    path.write_bytes(b"[data]\ncoco = '\xff'")
    with pytest.raises(SettingsError, match="UTF-8"):
        Settings.load(environment={}, file=path)


def test_only_a_named_file_must_be_there(home: Path) -> None:
    assert not Settings.load(environment={"XDG_CONFIG_HOME": str(home)}).found
    with pytest.raises(SettingsError, match="EBM_SETTINGS names it"):
        Settings.load(environment={"EBM_SETTINGS": str(home / "none.toml")})
    with pytest.raises(SettingsError, match="no settings file"):
        Settings.load(environment={}, file=home / "none.toml")


def test_an_unknown_key_in_code_is_our_error(home: Path) -> None:
    with pytest.raises(ValueError, match="trackingnet, lasot"):
        Settings.load(environment={"XDG_CONFIG_HOME": str(home)}).get("imagenet")


def test_the_template_is_valid_with_and_without_its_comments(home: Path) -> None:
    path = write_template(home / "new" / "settings.toml")
    assert path.read_text(encoding="utf-8") == template()
    assert not Settings.load(environment={}, file=path).found
    lines = [line.removeprefix("# ") if " = '" in line else line for line in template().splitlines()]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert set(Settings.load(environment={}, file=path).found) == set(KEYS)
    assert [p.name for p in path.parent.iterdir()] == ["settings.toml"]


@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_is_never_overwritten(home: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:

        def no_links(*_: object) -> None:
            raise OSError("no hard links here")

        monkeypatch.setattr("os.link", no_links)
    fresh = write_template(home / "fresh.toml")
    assert fresh.read_text(encoding="utf-8") == template()
    path = written(home, "mine")
    with pytest.raises(SettingsError, match="not overwritten"):
        write_template(path)
    assert path.read_text(encoding="utf-8") == "mine"
    assert sorted(p.name for p in home.iterdir()) == ["fresh.toml", "settings.toml"]


def test_names() -> None:
    assert [full_key(key) for key in ("coco", "data.coco", "workspace")] == ["data.coco", "data.coco", "runs.workspace"]
    assert [variable_of(key) for key in ("data.got10k", "runs.workspace")] == ["EBM_DATA_GOT10K", "EBM_RUNS_WORKSPACE"]
