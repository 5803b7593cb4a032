"""The state folder: one run at a time, secrets that stay, and nothing of other users."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from deploy import home
from deploy.processes import Failed


def test_secrets_are_made_once_and_are_private(tmp_path: Path) -> None:
    first = home.open_home(tmp_path / "state")
    secret = first.secret("secret")
    assert len(secret) >= 32
    assert first.secret("another") != secret
    first.close()
    again = home.open_home(tmp_path / "state")
    assert again.secret("secret") == secret
    assert stat.S_IMODE((tmp_path / "state" / "secrets.json").stat().st_mode) == 0o600
    again.close()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first = home.open_home(tmp_path)
    with pytest.raises(Failed, match=rf"already runs on .*process {os.getpid()}(.|\n)*MERCER_HOME"):
        home.open_home(tmp_path)
    first.close()
    home.open_home(tmp_path).close()


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    home.open_home(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_what_a_process_is_told_is_kept_for_a_shell(tmp_path: Path) -> None:
    state = home.open_home(tmp_path / "state")
    state.keep_env("catalog", {"MERCER_SECRET": "it's a secret", "MERCER_PORT": "9002", "PATH": "/bin"})
    kept = tmp_path / "state" / "env" / "catalog.env"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    said = subprocess.run(
        ["sh", "-c", f'. {kept} && echo "$MERCER_PORT $MERCER_SECRET"'], capture_output=True, text=True, check=True
    )
    assert said.stdout == "9002 it's a secret\n"
    assert "PATH" not in kept.read_text()
    state.reset()
    assert not kept.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(Failed, match="belongs to another user"):
        home.open_home(tmp_path)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match="MERCER_HOME"):
        home.open_home(tmp_path / "file" / "state")


def test_reset_removes_the_data_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "diary.txt").touch()
    state = home.open_home(tmp_path)
    state.secret("secret")
    state.reset()
    assert {path.name for path in tmp_path.iterdir()} == {"diary.txt", "lock"}


def test_throw_away_folders_are_found_when_nobody_holds_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(home, "_roomy_folder", lambda: tmp_path)
    held, killed = home.throw_away_home(), home.throw_away_home()
    killed.close()
    (found,) = home.abandoned_homes()
    assert found.path == killed.path
    found.remove()
    held.remove()
    assert not list(tmp_path.iterdir())


def test_who_can_reach_a_folder(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert not home.others_can_reach(inner)
    assert home.others_can_reach(Path("/usr/bin"))
